// SD3 and SD3.5 of every kind of configuration against diffusers: forward and gradient in f32, forward in bf16, sites,
// refusals.
#include "unet_dit/sd3.h"

#include <gtest/gtest.h>

#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/unet_dit/parity.h"
#include "unet_dit/sincos_positions.h"

namespace heddle {
namespace {

using testing::folder_of;

std::unique_ptr<SD3Transformer> load(const std::string& name, DType compute, const nlohmann::json& changes = {}) {
  return testing::load_network<SD3Transformer, SD3Config>(folder_of("sd3/" + name), compute, changes);
}

Conditioning conditioning_of(const TensorMap& io) {
  return {.text = io.at("encoder_hidden_states"),
          .text_embeds = io.at("pooled_projections"),
          .skip_blocks = io.contains("skip_layers") ? io.at("skip_layers").to_ids() : std::vector<int64_t>()};
}

Tensor run(const SD3Transformer& network, const Tensor& x, const TensorMap& io, AttentionContext& context) {
  return network(x, io.at("timestep"), conditioning_of(io), context);
}

class SD3Parity : public ::testing::TestWithParam<std::string> {};

TEST_P(SD3Parity, ForwardAndGradientAgreeWithDiffusers) {
  const auto network = load(GetParam(), DType::f32);
  testing::expect_parity(*network, folder_of("sd3/" + GetParam()), run);
}

TEST_P(SD3Parity, Bf16IsNoWorseThanThreeTimesTorch) {
  testing::expect_bf16_parity(*load(GetParam(), DType::bf16), folder_of("sd3/" + GetParam()), run);
}

TEST_P(SD3Parity, TextIsLeftOutWhereAPlanHoldsIt) {
  const auto network = load(GetParam(), DType::f32);
  const TensorMap io = read_safetensors(folder_of("sd3/" + GetParam()) + "/io.safetensors");
  const Tensor& x = io.at("hidden_states");
  testing::expect_text_left_out(*network, folder_of("sd3/" + GetParam()),
                                network->site_tokens(x.dim(2), x.dim(3), io.at("encoder_hidden_states").dim(1)), run);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SD3Parity, ::testing::ValuesIn(testing::fixtures_in("sd3")),
                         [](const auto& info) { return info.param; });

TEST(SD3Sites, AreNamedInOrderWithTheImageFirst) {
  const auto network = load("sd3_dual", DType::f32);
  std::vector<std::string> names;
  for (const AttentionSite& site : network->sites()) {
    EXPECT_EQ(site.depth, static_cast<int>(names.size()));
    EXPECT_EQ(site.kind, site.name.ends_with(".self") ? AttentionKind::self : AttentionKind::joint);
    names.push_back(site.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"block.00.joint", "block.00.self", "block.01.joint", "block.02.joint",
                                             "block.02.self"}));
  const std::vector<SiteTokens> tokens = network->site_tokens(8, 6, 7);
  ASSERT_EQ(tokens.size(), names.size());
  ASSERT_EQ(tokens[0].key.size(), 2u);
  EXPECT_EQ(tokens[0].key[0].name, "image");
  EXPECT_EQ(tokens[0].key[0].height, 4);
  EXPECT_EQ(tokens[0].key[0].width, 3);
  EXPECT_EQ(tokens[0].key[1].name, "text");
  EXPECT_EQ(tokens[0].key[1].tokens(), 7);
  EXPECT_EQ(token_count(tokens[1].query), 12);
}

// The stored table of published files is what is computed where there is none: a window of the middle.
TEST(SD3Positions, AWindowIsTheMiddleOfTheTable) {
  const Tensor whole = reshape(sincos_positions({.rows = 9, .columns = 9, .extent = 9, .base = 4}, 8), {9, 9, 8});
  const Tensor window = sincos_positions({.rows = 4, .columns = 3, .extent = 9, .base = 4}, 8);
  EXPECT_EQ(window.to_vector(), slice(slice(whole, 0, 2, 6), 1, 3, 6).to_vector());
}

TEST(SD3Config, RefusesWithTheNameOfWhatIsWrong) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<SD3Transformer, SD3Config>(folder_of("sd3/sd3_dual"), changes, word);
  };
  expect({{"qk_norm", "layer_norm"}}, "qk_norm");
  expect({{"dual_attention_layers", {0, 3}}}, "dual_attention_layers");
  expect({{"dual_attention_layers", {-1}}}, "dual_attention_layers");
  expect({{"caption_projection_dim", 12}}, "caption_projection_dim");
  expect({{"num_attention_heads", 1 << 20}}, "num_attention_heads");
  expect({{"num_attention_heads", 4096}, {"attention_head_dim", 4096}}, "num_attention_heads");
  expect({{"pos_embed_max_size", 1 << 30}}, "pos_embed_max_size");
  expect({{"patch_size", 0}}, "patch_size");
  expect({{"patch_sise", 2}}, "patch_size");
  expect({{"num_layers", 4}}, "transformer_blocks.2.norm1_context");  // a shape: the second last block is whole
  expect({{"num_layers", 2}, {"dual_attention_layers", {0}}}, "transformer_blocks");
  expect({{"qk_norm", nullptr}}, "norm_");  // surplus tensors
}

TEST(SD3Config, HostileValuesAreRefused) {
  testing::expect_hostile_values_refused<SD3Transformer, SD3Config>(folder_of("sd3/sd3_dual"));
}

TEST(SD3Input, IsCheckedAtTheDoor) {
  const auto network = load("sd3", DType::f32);
  AttentionContext context;
  const Tensor t = Tensor::zeros({1}), text = Tensor::zeros({1, 7, 12}), pooled = Tensor::zeros({1, 10});
  const auto refuses = [&](const Tensor& x, const Conditioning& given) {
    EXPECT_THROW((*network)(x, t, given, context), Error);
  };
  refuses(Tensor::zeros({1, 5, 8, 8}), {.text = text, .text_embeds = pooled});
  refuses(Tensor::zeros({1, 4, 1, 8}), {.text = text, .text_embeds = pooled});
  refuses(Tensor::zeros({1, 4, 8, 14}), {.text = text, .text_embeds = pooled});  // wider than the table
  refuses(Tensor::zeros({1, 4, 8, 8}), {.text = text});
  refuses(Tensor::zeros({1, 4, 8, 8}), {.text_embeds = pooled});
  refuses(Tensor::zeros({1, 4, 8, 8}), {.text = text, .text_embeds = pooled, .skip_blocks = {2}});
}

}  // namespace
}  // namespace heddle
