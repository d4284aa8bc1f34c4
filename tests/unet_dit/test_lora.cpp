// A UNet with LoRAs of every kind of file, against diffusers with PEFT.
#include <gtest/gtest.h>

#include "tests/support/adapted.h"
#include "tests/support/compare.h"
#include "unet_dit/unet.h"

namespace heddle {
namespace {

const std::string base = std::string(HEDDLE_FIXTURES) + "/unet_dit/sd1",
                  loras = std::string(HEDDLE_FIXTURES) + "/lora/";

TEST(Lora, ChangesTheUNetAsPeftDoes) {
  const TensorMap expected = read_safetensors(loras + "expected.safetensors");
  const auto run = [](const std::vector<AskedLora>& asked) {
    return testing::adapted<UNet, UNetConfig>(
        base, LoraPart::denoiser, asked, [](const UNet& unet, const TensorMap& io, AttentionContext& context) {
          return unet(io.at("sample"), io.at("timestep"), {.text = io.at("encoder_hidden_states")}, context);
        });
  };
  int seen = 0;
  for (const auto& [name, want] : expected) {
    std::optional<LoraFile> file;
    if (name != "plain") file.emplace(loras + name + ".safetensors");
    std::vector<AskedLora> asked;
    if (file) asked.push_back({&*file, 0.7});
    EXPECT_LE(testing::error_over_std(run(asked), want), 2e-4) << name;
    if (file) {
      EXPECT_EQ(run({{&*file, 0}}).to_vector(), run({}).to_vector()) << name << " switched off";
    }
    ++seen;
  }
  EXPECT_EQ(seen, 9);
}

}  // namespace
}  // namespace heddle
