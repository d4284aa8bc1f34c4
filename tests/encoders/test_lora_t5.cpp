// T5 encoders with LoRAs in the names of PEFT, diffusers and kohya's scripts, against PEFT's merged weights.
#include <gtest/gtest.h>

#include "encoders/text_t5.h"
#include "kernels/core/error.h"
#include "tests/support/adapted.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/", loras = fixtures + "lora/t5/";

struct Case {
  std::string folder;
  LoraPart part;
};

// "v1_1_kohya_3": the encoder, whose names, which text encoder of the model.
Case case_of(const std::string& name) {
  return {fixtures + "encoders/t5/" + (name.starts_with("v1_1") ? "v1_1" : "v1"),
          name.ends_with("3") ? LoraPart::text_encoder_3 : LoraPart::text_encoder_2};
}

Tensor states(const Case& of, const std::vector<AskedLora>& asked) {
  return testing::adapted<T5Text, T5TextConfig>(of.folder, of.part, asked,
                                                [](const T5Text& text, const TensorMap& io, AttentionContext& context) {
                                                  return text(io.at("input_ids"), {}, context);
                                                });
}

TEST(LoraOfT5, ChangesTheEncoderAsPeftDoes) {
  const TensorMap expected = read_safetensors(loras + "expected.safetensors");
  EXPECT_EQ(expected.size(), 6u);
  for (const auto& [name, want] : expected) {
    const LoraFile file(loras + name + ".safetensors");
    const Case of = case_of(name);
    EXPECT_LE(testing::error_over_std(states(of, {{&file, 0.7}}), want), 2e-4) << name;
    EXPECT_EQ(states(of, {{&file, 0}}).to_vector(), states(of, {}).to_vector()) << name << " switched off";
  }
}

TEST(LoraOfT5, LayersThatItHasNotAreRefused) {
  const LoraFile gated(loras + "v1_1_kohya_3.safetensors");
  try {
    states(case_of("v1_kohya_3"), {{&gated, 1}});
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_NE(text.find("lora_te3_encoder_block_0_layer_1_DenseReluDense_wi_0"), std::string::npos) << text;
    EXPECT_NE(text.find("wanted a layer of the model; got none of that name"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace heddle
