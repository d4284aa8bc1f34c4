// CLIP's text encoder with LoHa and LoKr in LyCORIS' names, against PEFT's merged weights.
#include <gtest/gtest.h>

#include "encoders/text_clip.h"
#include "tests/support/adapted.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/", folder = fixtures + "encoders/text/sd1";

Tensor states(const std::vector<AskedLora>& asked) {
  return testing::adapted<ClipText, ClipTextConfig>(
      folder, LoraPart::text_encoder, asked, [](const ClipText& text, const TensorMap& io, AttentionContext& context) {
        return text(io.at("input_ids"), context).last_hidden_state;
      });
}

TEST(LycorisOfClip, ChangesTheEncoderAsPeftDoes) {
  const TensorMap expected = read_safetensors(fixtures + "lora/lycoris/expected.safetensors");
  for (const std::string name : {"text_loha", "text_lokr"}) {
    const LoraFile file(fixtures + "lora/lycoris/" + name + ".safetensors");
    EXPECT_LE(testing::error_over_std(states({{&file, 0.7}}), expected.at(name)), 2e-4) << name;
    EXPECT_EQ(states({{&file, 0}}).to_vector(), states({}).to_vector()) << name << " switched off";
  }
}

}  // namespace
}  // namespace heddle
