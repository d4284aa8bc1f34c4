// LoHa, LoKr and whole differences over a UNet, against PEFT, and over SD3 with the authors' joined matrices merged.
#include <gtest/gtest.h>

#include "tests/support/adapted.h"
#include "tests/support/compare.h"
#include "unet_dit/sd3.h"
#include "unet_dit/unet.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/", files = fixtures + "lora/lycoris/";

Tensor unet_with(const std::vector<AskedLora>& asked) {
  return testing::adapted<UNet, UNetConfig>(fixtures + "unet_dit/sd1", LoraPart::denoiser, asked,
                                            [](const UNet& unet, const TensorMap& io, AttentionContext& context) {
                                              return unet(io.at("sample"), io.at("timestep"),
                                                          {.text = io.at("encoder_hidden_states")}, context);
                                            });
}

Tensor sd3_with(const std::vector<AskedLora>& asked) {
  return testing::adapted<SD3Transformer, SD3Config>(
      fixtures + "unet_dit/sd3/sd3_dual", LoraPart::denoiser, asked,
      [](const SD3Transformer& network, const TensorMap& io, AttentionContext& context) {
        return network(io.at("hidden_states"), io.at("timestep"),
                       {.text = io.at("encoder_hidden_states"), .text_embeds = io.at("pooled_projections")}, context);
      });
}

TEST(Lycoris, ChangesNetworksAsPeftDoes) {
  const TensorMap expected = read_safetensors(files + "expected.safetensors");
  int seen = 0;
  for (const auto& [name, want] : expected) {
    if (name.starts_with("text")) continue;
    const auto run = name.starts_with("sd3") ? sd3_with : unet_with;
    const LoraFile file(files + (name == "peft_lokr" ? name + "/adapter_model" : name) + ".safetensors");
    EXPECT_LE(testing::error_over_std(run({{&file, 0.7}}), want), 2e-4) << name;
    EXPECT_LE(testing::error_over_std(run({{&file, 0.4}, {&file, 0.3}}), want), 2e-4) << name << " in two";
    EXPECT_EQ(run({{&file, 0}}).to_vector(), run({}).to_vector()) << name << " switched off";
    ++seen;
  }
  EXPECT_EQ(seen, 9);
}

}  // namespace
}  // namespace heddle
