// UNets of every kind of configuration against diffusers: forward and gradient in f32, forward in bf16, refusals.
#include "unet_dit/unet.h"

#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/unet_dit/parity.h"

namespace heddle {
namespace {

using testing::error_over_std;
using testing::folder_of;

std::unique_ptr<UNet> load(const std::string& folder, DType compute) {
  return testing::load_network<UNet, UNetConfig>(folder, compute);
}

Conditioning conditioning_of(const TensorMap& io) {
  const auto get = [&](const char* name) { return io.contains(name) ? io.at(name) : Tensor(); };
  return {.text = get("encoder_hidden_states"),
          .text_embeds = get("text_embeds"),
          .time_ids = get("time_ids"),
          .class_labels = get("class_labels"),
          .guidance = get("timestep_cond")};
}

class UNetParity : public ::testing::TestWithParam<std::string> {};

TEST_P(UNetParity, ForwardAndGradientAgreeWithDiffusers) {
  const std::string folder = folder_of(GetParam());
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  const auto unet = load(folder, DType::f32);
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "checkpointing" : "saved activations");
    unet->set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;
    const Tensor sample = tape.watch(io.at("sample"));
    const Tensor out = (*unet)(sample, io.at("timestep"), conditioning_of(io), context);
    EXPECT_LE(error_over_std(out, io.at("expected.sample")), 2e-4);
    EXPECT_LE(error_over_std(tape.gradient(out, sample, io.at("cotangent")), io.at("expected.vjp")), 1e-3);
  }
}

TEST_P(UNetParity, Bf16IsNoWorseThanThreeTimesTorch) {
  const std::string folder = folder_of(GetParam());
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  AttentionContext context;
  const Tensor out = (*load(folder, DType::bf16))(io.at("sample"), io.at("timestep"), conditioning_of(io), context);
  EXPECT_LE(error_over_std(out, io.at("expected.sample")),
            3 * error_over_std(io.at("expected.bf16"), io.at("expected.sample")));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, UNetParity, ::testing::ValuesIn(testing::fixtures_in("")),
                         [](const auto& info) { return info.param; });

TEST(UNetSites, AreNamedInOrderAndTruthful) {
  const auto unet = load(folder_of("sdxl"), DType::f32);
  std::vector<std::string> names;
  for (const AttentionSite& site : unet->sites()) {
    EXPECT_EQ(site.depth, static_cast<int>(names.size()));
    names.push_back(site.name);
  }
  EXPECT_EQ(names.front(), "down.1.block0.depth0.self");
  EXPECT_EQ(names[1], "down.1.block0.depth0.cross");
  EXPECT_NE(std::find(names.begin(), names.end(), "mid.block0.depth2.cross"), names.end());
  EXPECT_EQ(names.back(), "up.1.block2.depth1.cross");
}

TEST(UNetConfig, RefusesWithTheNameOfWhatIsWrong) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<UNet, UNetConfig>(folder_of("sd1"), changes, word);
  };
  expect({{"attention_type", "gated"}}, "attention_type");
  expect({{"block_out_chanels", {8, 16}}}, "block_out_channels");
  expect({{"norm_num_groups", 3}}, "norm_num_groups");
  expect({{"down_block_types", {"KDownBlock2D", "DownBlock2D"}}}, "KDownBlock2D");
  expect({{"layers_per_block", 3}}, "down_blocks.0.resnets.2");  // a missing tensor
  expect({{"layers_per_block", 1}}, "resnets");                  // a surplus one
  expect({{"layers_per_block", -1}}, "layers_per_block");
  expect({{"cross_attention_dim", 13}}, "attn2.to_k");  // a shape
}

TEST(UNetInput, IsCheckedAtTheDoor) {
  const auto unet = load(folder_of("sd1"), DType::f32);
  AttentionContext context;
  const Tensor t = Tensor::zeros({1});
  EXPECT_THROW((*unet)(Tensor::zeros({1, 5, 8, 8}), t, {.text = Tensor::zeros({1, 7, 12})}, context), Error);
  EXPECT_THROW((*unet)(Tensor::zeros({1, 4, 8, 8}), t, {}, context), Error);
  EXPECT_THROW((*unet)(Tensor::zeros({1, 4, 8, 8}), t, {.text = Tensor::zeros({2, 7, 12})}, context), Error);
}

}  // namespace
}  // namespace heddle
