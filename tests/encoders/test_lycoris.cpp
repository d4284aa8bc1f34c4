// CLIP's text encoder with LoHa and LoKr in LyCORIS' names, against PEFT's merged weights.
#include <gtest/gtest.h>

#include "encoders/text_clip.h"
#include "io/lora.h"
#include "io/weights.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/", folder = fixtures + "encoders/text/sd1";

Tensor states(const std::vector<AskedLora>& asked) {
  Weights weights(folder);
  LoraWeights laid(weights, weights.names(), LoraPart::text_encoder, asked);
  const ClipText text(ClipTextConfig::from(Json::read(folder + "/config.json")), Scope(laid, DType::f32));
  weights.require_all_used();
  AttentionContext context;
  return text(read_safetensors(folder + "/io.safetensors").at("input_ids"), context).last_hidden_state;
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
