// UNets of every kind of configuration against diffusers: forward and gradient in f32, forward in bf16, refusals.
#include "unet_dit/unet.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "io/weights.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

using testing::error_over_std;

std::string folder_of(const std::string& name) {
  return std::string(HEDDLE_FIXTURES) + "/unet_dit/" + name;
}

std::unique_ptr<UNet> load(const std::string& folder, DType compute) {
  Weights weights(folder);
  auto unet = std::make_unique<UNet>(UNetConfig::from(Json::read(folder + "/config.json")), Scope(weights, compute));
  weights.require_all_used();
  return unet;
}

Conditioning conditioning_of(const TensorMap& io) {
  const auto get = [&](const char* name) { return io.contains(name) ? io.at(name) : Tensor(); };
  return {.text = get("encoder_hidden_states"),
          .text_embeds = get("text_embeds"),
          .time_ids = get("time_ids"),
          .class_labels = get("class_labels"),
          .guidance = get("timestep_cond")};
}

std::vector<std::string> fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(""))) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
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

INSTANTIATE_TEST_SUITE_P(Fixtures, UNetParity, ::testing::ValuesIn(fixtures()),
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

// The message of the Error that loading fixture sd1 with a changed configuration gives.
std::string refusal(const std::string& key, const nlohmann::json& value) {
  nlohmann::json config = nlohmann::json::parse(Json::read(folder_of("sd1") + "/config.json").node().dump());
  config[key] = value;
  try {
    Weights weights(folder_of("sd1"));
    UNet(UNetConfig::from(Json::parse(config.dump(), "config.json")), Scope(weights, DType::f32));
    weights.require_all_used();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "";
}

TEST(UNetConfig, RefusesWithTheNameOfWhatIsWrong) {
  EXPECT_NE(refusal("attention_type", "gated").find("attention_type"), std::string::npos);
  EXPECT_NE(refusal("block_out_chanels", {8, 16}).find("block_out_channels"), std::string::npos);
  EXPECT_NE(refusal("norm_num_groups", 3).find("norm_num_groups"), std::string::npos);
  EXPECT_NE(refusal("down_block_types", {"KDownBlock2D", "DownBlock2D"}).find("KDownBlock2D"), std::string::npos);
  EXPECT_NE(refusal("layers_per_block", 3).find("down_blocks.0.resnets.2"), std::string::npos);  // a missing tensor
  EXPECT_NE(refusal("layers_per_block", 1).find("resnets"), std::string::npos);                  // a surplus one
  EXPECT_NE(refusal("layers_per_block", -1).find("layers_per_block"), std::string::npos);
  EXPECT_NE(refusal("cross_attention_dim", 13).find("attn2.to_k"), std::string::npos);  // a shape
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
