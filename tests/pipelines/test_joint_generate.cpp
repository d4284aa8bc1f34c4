// Whole pipelines of SD3 (with and without T5) and FLUX (dev and schnell) against diffusers on tiny random models:
// generate, image to image, inpainting, true guidance, skip-layer guidance.
#include <gtest/gtest.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/conditioning.h"
#include "pipelines/joint_text.h"
#include "tests/pipelines/joint_run.h"
#include "tests/pipelines/parity_cases.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

using testing::joint_model;
using testing::joint_run;

class JointParity : public ::testing::TestWithParam<Json> {};

TEST_P(JointParity, FinalLatentsAndPictureAgreeWithDiffusers) {
  static const TensorMap expected = read_safetensors(testing::joint_root + "expected.safetensors");
  const std::string name = GetParam().get<std::string>("name");
  const RunResult result = joint_run(GetParam().get<std::string>("model"), GetParam().get<std::string>("preset"));
  EXPECT_LE(testing::error_over_std(result.latents, expected.at(name + ".latents")), 2e-3);
  EXPECT_LE(testing::error_over_std(result.image, expected.at(name + ".image")), 2e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, JointParity, ::testing::ValuesIn(testing::parity_cases(testing::joint_root)),
                         testing::case_name);

const std::string prompt = "prompt: a cat\ntext: {max_sequence_length: 8}\n";

TEST(JointGenerate, WhatIsLeftOpenIsTheFamilysOwn) {
  const auto defaults = [](const std::string& model, const std::string& lines) {
    return joint_run(model, "prompt: a cat\n" + lines).preset;
  };
  const std::string short_text = "text: {max_sequence_length: 8}\n";
  Preset preset = defaults("sd3", short_text);
  EXPECT_EQ(preset.sampler.steps, 28);
  EXPECT_EQ(preset.sampler.guidance, 7);
  preset = defaults("flux", short_text);
  EXPECT_EQ(preset.sampler.steps, 28);
  EXPECT_EQ(preset.sampler.guidance, 3.5);
  preset = defaults("schnell", short_text);
  EXPECT_EQ(preset.sampler.steps, 4);
  EXPECT_EQ(preset.sampler.guidance, 0);
}

ErrorCode code_of(const std::string& model, const std::string& lines) {
  try {
    joint_run(model, prompt + lines);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode{};
}

TEST(JointGenerate, RefusesWhatTheFamilyHasNoUseFor) {
  EXPECT_EQ(code_of("schnell", "sampler: {guidance: 4}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("flux", "sampler: {true_guidance: 4}\n"), ErrorCode::usage);  // away from what?
  EXPECT_EQ(code_of("sd3", "sampler: {true_guidance: 4}\nnegative: red\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("flux", "sampler: {skip_layer_guidance: {layers: [0]}}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("sd3", "sampler: {skip_layer_guidance: {layers: [3]}}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("sd3", "sampler: {guidance: 1, skip_layer_guidance: {layers: [0]}}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("sd3", "sampler: {guidance: 1, guidance_interval: [0, 0.5]}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("flux", "sampler: {guidance_interval: [0, 0.5]}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("sd3", "sampler: {steps: 4, guidance_interval: [0.3, 0.4]}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("sd3", "sampler: {steps: 4, guidance_interval: [0.8, 0.2]}\n"), ErrorCode::usage);
  EXPECT_EQ(
      code_of("sd3",
              "sampler: {steps: 4, guidance_interval: [0, 0.5]}\nattention: [tgate: {gate_step: 2, text: freeze}]\n"),
      ErrorCode::usage);
  EXPECT_EQ(code_of("flux", "sampler: {name: ddim}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of("flux", "noise: " + testing::joint_root + "noise.safetensors\n"), ErrorCode::input);
  EXPECT_EQ(code_of("flux", "size: [18, 16]\n"), ErrorCode::usage);
}

TextSettings text_of(int length) {
  TextSettings settings;
  settings.max_sequence_length = length;
  return settings;
}

TEST(JointGenerate, RefusesSettingsOfTextThatT5DoesNotTake) {
  const auto code = [](const std::string& model, const TextSettings& settings) {
    try {
      check_text_settings(joint_model(model), settings);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode{};
  };
  TextSettings weights, skip, chunks;
  weights.weights = PromptWeights::a1111;
  skip.clip_skip = 1;
  chunks.long_prompts = LongPrompts::chunks;
  EXPECT_EQ(code("sd3", weights), ErrorCode::usage);
  EXPECT_EQ(code("sd3_no_t5", weights), ErrorCode{});
  EXPECT_EQ(code("sd3", skip), ErrorCode{});
  EXPECT_EQ(code("flux", skip), ErrorCode::usage);
  EXPECT_EQ(code("sd3", chunks), ErrorCode{});
  EXPECT_EQ(code("flux", chunks), ErrorCode::usage);
  EXPECT_EQ(code("flux", text_of(512)), ErrorCode{});
  EXPECT_EQ(code("schnell", text_of(257)), ErrorCode::usage);
}

// Each position's token begins and ends with the word, whichever encoder read it.
TEST(JointGenerate, WordsStandInEveryPartOfTheText) {
  const std::string text = "a photo of the cat, 3 hats";
  const TextSettings settings = text_of(40);
  const PromptTokens sd3 = prompt_tokens(joint_model("sd3"), text, settings, 77 + 40);
  const std::vector<int64_t> cat = sd3.find("cat", "test");
  EXPECT_LT(cat.front(), 77);
  EXPECT_GE(cat.back(), 77);
  const PromptTokens flux = prompt_tokens(joint_model("flux"), text, settings, 40);
  std::vector<int64_t> of_t5;
  for (const int64_t position : cat) {
    if (position >= 77) of_t5.push_back(position - 77);
  }
  EXPECT_EQ(flux.find("cat", "test"), of_t5);
  const PromptTokens none = prompt_tokens(joint_model("sd3_no_t5"), text, settings, 77 + 40);
  EXPECT_LT(none.find("cat", "test").back(), 77);
  for (const PromptToken& token : sd3.tokens) EXPECT_NE(text[token.begin], ' ');
}

TEST(JointGenerate, LongPromptsAreChunksOfClipBeforeT5) {
  std::string text;
  for (int i = 0; i < 90; ++i) text += "cat ";
  TextSettings settings = text_of(16);
  settings.long_prompts = LongPrompts::chunks;
  Model& model = joint_model("sd3");
  const EncodedText states = encode_text(model, {.prompts = {text}, .negatives = {}, .settings = settings});
  EXPECT_EQ(states.cond.text.dim(1), 2 * 77 + 16);
  EXPECT_EQ(states.uncond.text.shape(), states.cond.text.shape());
  EXPECT_GE(prompt_tokens(model, "cat", settings, 2 * 77 + 16).find("cat", "test").back(), 2 * 77);
}

// A file that adapts one layer of T5, and nothing else.
std::string lora_of_t5(const std::string& model, const std::string& layer, bool kohya, float size = 1) {
  const std::string encoder = model == "flux" ? "/text_encoder_2" : "/text_encoder_3";
  const int64_t width = Json::read(testing::joint_root + model + encoder + "/config.json").get<int64_t>("d_model");
  const std::string path = testing::scratch("t5_lora.safetensors");
  write_safetensors(path, {{layer + (kohya ? ".lora_down.weight" : ".lora_A.weight"), Tensor::full({1, width}, size)},
                           {layer + (kohya ? ".lora_up.weight" : ".lora_B.weight"), Tensor::full({12, 1}, 0.25f)}});
  return path;
}

RunResult run_with(const std::string& model, const std::string& lora, const std::string& settings) {
  const Preset preset =
      testing::joint_preset(model, prompt + "sampler: {steps: 2}\nlora: [{file: " + lora + ", " + settings + "}]\n");
  const std::unique_ptr<Model> opened = Model::of(preset, testing::scratch("preset.yaml"));
  return generate(preset, testing::scratch("preset.yaml"), *opened, {});
}

// SD3's T5 is the third text encoder. FLUX's is the second, to kohya's scripts the third as well.
TEST(JointGenerate, LorasOfT5GoByTheNamesOfTheFamily) {
  const std::string dotted = "encoder.block.1.layer.0.SelfAttention.v",
                    underscored = "encoder_block_1_layer_0_SelfAttention_v";
  const std::map<std::string, std::vector<std::string>> names{
      {"sd3", {"text_encoder_3." + dotted, "lora_te3_" + underscored}},
      {"flux", {"text_encoder_2." + dotted, "lora_te2_" + underscored, "lora_te3_" + underscored}}};
  for (const auto& [model, layers] : names) {
    const std::vector<float> plain = joint_run(model, prompt + "sampler: {steps: 2}\n").image.to_vector();
    std::vector<float> adapted;
    for (const std::string& layer : layers) {
      const std::string lora = lora_of_t5(model, layer, layer.starts_with("lora_"));
      EXPECT_EQ(run_with(model, lora, "weight: 0").image.to_vector(), plain) << layer;
      EXPECT_EQ(run_with(model, lora, "weight: 1, text_weight: 0").image.to_vector(), plain) << layer;
      const std::vector<float> got = run_with(model, lora, "weight: 0, text_weight: 1").image.to_vector();
      EXPECT_NE(got, plain) << layer;
      if (adapted.empty()) adapted = got;
      EXPECT_EQ(got, adapted) << layer;
    }
  }
}

TEST(JointGenerate, LorasOfAnEncoderThatIsNotThereAreRefused) {
  const auto refusal = [](const std::string& model, const std::string& lora) {
    try {
      run_with(model, lora, "weight: 1");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      return std::string(error.what());
    }
    return std::string("nothing was refused");
  };
  const std::string layer = "lora_te3_encoder_block_1_layer_0_SelfAttention_v", nothing = "lora_te3_encoder_block_9";
  EXPECT_NE(refusal("sd3_no_t5", lora_of_t5("sd3", layer, true)).find("layers of one that it has not"),
            std::string::npos);
  EXPECT_NE(refusal("flux", lora_of_t5("flux", nothing, true)).find(nothing + "] wanted a layer of the model"),
            std::string::npos);
}

}  // namespace
}  // namespace heddle
