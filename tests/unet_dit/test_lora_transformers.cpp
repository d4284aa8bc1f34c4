// FLUX and SD3 with LoRAs whose layers join what the networks have apart, against the authors' matrices merged.
#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "tests/support/adapted.h"
#include "tests/support/compare.h"
#include "unet_dit/flux.h"
#include "unet_dit/sd3.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/";

Tensor with_lora(const std::string& name, double weight) {
  const LoraFile file(fixtures + "lora/transformers/" + name + ".safetensors");
  const auto given = [](const TensorMap& io) {
    return Conditioning{.text = io.at("encoder_hidden_states"), .text_embeds = io.at("pooled_projections")};
  };
  if (!name.starts_with("flux")) {
    return testing::adapted<SD3Transformer, SD3Config>(
        fixtures + "unet_dit/sd3/sd3_dual", LoraPart::denoiser, {{&file, weight}},
        [&](const SD3Transformer& network, const TensorMap& io, AttentionContext& context) {
          return network(io.at("hidden_states"), io.at("timestep"), given(io), context);
        });
  }
  return testing::adapted<FluxTransformer, FluxConfig>(
      fixtures + "unet_dit/flux/flux_dev", LoraPart::denoiser, {{&file, weight}},
      [&](const FluxTransformer& network, const TensorMap& io, AttentionContext& context) {
        Conditioning guided = given(io);
        guided.guidance = io.at("guidance");
        return network.predict({io.at("hidden_states"), io.at("img_ids"), io.at("txt_ids")}, io.at("timestep"), guided,
                               context);
      });
}

TEST(LoraOfTransformers, JoinedLayersAreSharedOut) {
  const TensorMap expected = read_safetensors(fixtures + "lora/transformers/expected.safetensors");
  EXPECT_EQ(expected.size(), 5u);
  for (const auto& [name, want] : expected)
    EXPECT_LE(testing::error_over_std(with_lora(name, 0.7), want), 2e-4) << name;
}

TEST(LoraOfTransformers, RowsThatCannotBeSharedOutAreRefused) {
  Weights weights(fixtures + "unet_dit/flux/flux_dev");
  const std::string path = ::testing::TempDir() + "heddle_lora_rows.safetensors";
  const std::string layer = "lora_unet_double_blocks_0_img_attn_qkv";
  write_safetensors(path, {{layer + ".lora_down.weight", Tensor::zeros({1, 12})},
                           {layer + ".lora_up.weight", Tensor::zeros({35, 1})}});
  const LoraFile file(path);
  try {
    LoraWeights laid(weights, weights.names(), LoraPart::denoiser, {{&file, 1}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rows in 3 equal parts"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace heddle
