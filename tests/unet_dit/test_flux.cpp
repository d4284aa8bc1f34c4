// FLUX of every kind of configuration against diffusers: forward and gradient in f32, forward in bf16, packing, sites,
// refusals.
#include "unet_dit/flux.h"

#include <gtest/gtest.h>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/unet_dit/parity.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {
namespace {

using testing::folder_of;

std::unique_ptr<FluxTransformer> load(const std::string& name, DType compute) {
  return testing::load_network<FluxTransformer, FluxConfig>(folder_of("flux/" + name), compute);
}

Conditioning conditioning_of(const TensorMap& io) {
  return {.text = io.at("encoder_hidden_states"),
          .text_embeds = io.at("pooled_projections"),
          .guidance = io.contains("guidance") ? io.at("guidance") : Tensor()};
}

Tensor run(const FluxTransformer& network, const Tensor& x, const TensorMap& io, AttentionContext& context) {
  return network.predict({x, io.at("img_ids"), io.at("txt_ids")}, io.at("timestep"), conditioning_of(io), context);
}

class FluxParity : public ::testing::TestWithParam<std::string> {};

TEST_P(FluxParity, ForwardAndGradientAgreeWithDiffusers) {
  const auto network = load(GetParam(), DType::f32);
  testing::expect_parity(*network, folder_of("flux/" + GetParam()), run);
}

TEST_P(FluxParity, Bf16IsNoWorseThanThreeTimesTorch) {
  testing::expect_bf16_parity(*load(GetParam(), DType::bf16), folder_of("flux/" + GetParam()), run);
}

TEST_P(FluxParity, TextIsLeftOutWhereAPlanHoldsIt) {
  const auto network = load(GetParam(), DType::f32);
  const TensorMap io = read_safetensors(folder_of("flux/" + GetParam()) + "/io.safetensors");
  const int64_t images = io.at("hidden_states").dim(1);
  testing::expect_text_left_out(*network, folder_of("flux/" + GetParam()),
                                network->site_tokens(2, 2 * images, io.at("encoder_hidden_states").dim(1)), run);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FluxParity, ::testing::ValuesIn(testing::fixtures_in("flux")),
                         [](const auto& info) { return info.param; });

// The denoiser's own door takes latents, times in 0..1000 and counts coordinates itself.
TEST(FluxLatents, ArePackedAsThePipelineDoes) {
  const TensorMap io = read_safetensors(folder_of("flux/flux_dev") + "/io.safetensors");
  const auto network = load("flux_dev", DType::f32);
  const Tensor latents = unpack_latents(io.at("hidden_states"), 8, 6);  // 4x3 tokens
  ASSERT_EQ(latents.shape(), (Shape{2, 2, 8, 6}));
  EXPECT_EQ(pack_latents(latents).to_vector(), io.at("hidden_states").to_vector());
  AttentionContext context;
  const Tensor out = (*network)(latents, scale(io.at("timestep"), 1000), conditioning_of(io), context);
  EXPECT_LE(testing::error_over_std(pack_latents(out), io.at("expected.sample")), 2e-4);
}

TEST(FluxTokens, AGridIsToldByItsCoordinates) {
  const auto is = [](const TokenSegment& s, int64_t height, int64_t width) {
    EXPECT_EQ(s.height, height);
    EXPECT_EQ(s.width, width);
  };
  is(segment_of(grid_ids(4, 3, 3)), 4, 3);
  is(segment_of(add_constant(grid_ids(2, 5, 3), 7)), 2, 5);
  is(segment_of(grid_ids(1, 6, 2)), 1, 6);
  is(segment_of(grid_ids(6, 1, 3)), 6, 1);
  is(segment_of(concat({grid_ids(2, 3, 3), grid_ids(2, 3, 3)}, 0)), 1, 12);
  is(segment_of(Tensor::zeros({5, 3})), 1, 5);
}

TEST(FluxSites, AreNamedInOrderWithTheTextFirst) {
  const auto network = load("flux_deep", DType::f32);
  std::vector<std::string> names;
  for (const AttentionSite& site : network->sites()) {
    EXPECT_EQ(site.kind, AttentionKind::joint);
    names.push_back(site.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"double.00.joint", "double.01.joint", "single.00.joint", "single.01.joint",
                                             "single.02.joint"}));
  const std::vector<SiteTokens> tokens = network->site_tokens(8, 6, 7);
  ASSERT_EQ(tokens.size(), names.size());
  ASSERT_EQ(tokens[0].key.size(), 2u);
  EXPECT_EQ(tokens[0].key[0].name, "text");
  EXPECT_EQ(tokens[0].key[1].name, "image");
  EXPECT_EQ(tokens[0].key[1].height, 4);
  EXPECT_EQ(tokens[0].key[1].width, 3);
}

TEST(FluxConfig, RefusesWithTheNameOfWhatIsWrong) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<FluxTransformer, FluxConfig>(folder_of("flux/flux_dev"), changes, word);
  };
  expect({{"axes_dims_rope", {2, 2, 4}}}, "axes_dims_rope");
  expect({{"axes_dims_rope", {1, 2, 3}}}, "axes_dims_rope");
  expect({{"axes_dims_rope", {-2, 4, 4}}}, "axes_dims_rope");
  expect({{"axes_dims_rope", nlohmann::json::array()}}, "axes_dims_rope");
  expect({{"attention_head_dim", 4096}, {"num_attention_heads", 4096}}, "num_attention_heads");
  expect({{"guidance_embed", true}}, "guidance_embeds");
  expect({{"guidance_embeds", false}}, "guidance_embedder");  // surplus tensors
  expect({{"num_layers", 2}}, "transformer_blocks.1");
  expect({{"num_single_layers", -1}}, "num_single_layers");
  expect({{"out_channels", 4}}, "proj_out");
}

TEST(FluxConfig, HostileValuesAreRefused) {
  testing::expect_hostile_values_refused<FluxTransformer, FluxConfig>(folder_of("flux/flux_dev"));
}

TEST(FluxInput, IsCheckedAtTheDoor) {
  const auto network = load("flux_dev", DType::f32);
  AttentionContext context;
  const Tensor t = Tensor::zeros({1}), x = Tensor::zeros({1, 2, 4, 4});
  const Conditioning good{
      .text = Tensor::zeros({1, 5, 12}), .text_embeds = Tensor::zeros({1, 10}), .guidance = Tensor::zeros({1})};
  EXPECT_NO_THROW((*network)(x, t, good, context));
  EXPECT_THROW((*network)(Tensor::zeros({1, 2, 5, 4}), t, good, context), Error);
  EXPECT_THROW((*network)(Tensor::zeros({1, 4, 4, 4}), t, good, context), Error);
  for (Tensor Conditioning::*missing : {&Conditioning::text, &Conditioning::text_embeds, &Conditioning::guidance}) {
    Conditioning without = good;
    without.*missing = {};
    EXPECT_THROW((*network)(x, t, without, context), Error);
  }
  Conditioning skipping = good;
  skipping.skip_blocks = {0};
  EXPECT_THROW((*network)(x, t, skipping, context), Error);
  EXPECT_THROW((*load("flux_schnell", DType::f32))(x, t, good, context), Error);  // has no guidance
}

}  // namespace
}  // namespace heddle
