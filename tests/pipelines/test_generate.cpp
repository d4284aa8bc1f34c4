// Whole pipelines against diffusers on tiny random models: every sampler and prediction type, SD1, SD2, SDXL, LCM,
// image-to-image and inpainting; equal seeds give equal bytes.
#include "pipelines/generate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "attention_control/plugins/registry.h"
#include "io/json.h"
#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "tests/pipelines/parity_cases.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string root = std::string(HEDDLE_FIXTURES) + "/pipelines/";

const char* base_preset =
    "heddle: 1\nmodel: sd1\nprompt: \"a photo of the cat, 3 hats\"\nnegative: blurry\nsize: [16, 16]\nseed: 3\n"
    "sampler: {steps: 6, guidance: 4}\n";

// A preset file beside the fixtures' models, so that relative paths resolve as a user's would.
std::string preset_file(const std::string& text) {
  const std::string path = ::testing::TempDir() + "heddle_generate_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << text;
  return path;
}

// YAML's flow style holds JSON.
std::string preset_text(const Json& c) {
  std::string text = "heddle: 1\nmodel: " + root + c.get<std::string>("model") + "\nsize: [16, 16]\nseed: 3\n";
  text += "prompt: " + (c.has("prompt") ? c.node()["prompt"].dump() : "\"a photo of the cat, 3 hats\"") + "\n";
  if (!c.node().contains("negative")) text += "negative: blurry\n";
  if (c.has("negative")) text += "negative: " + c.node()["negative"].dump() + "\n";
  text += "sampler: {steps: " + std::to_string(c.get<int>("steps")) +
          ", guidance: " + std::to_string(c.get_or<double>("guidance", 4));
  if (c.has("sampler")) text += ", name: " + c.get<std::string>("sampler");
  if (c.has("prediction_type")) text += ", prediction_type: " + c.get<std::string>("prediction_type");
  if (c.has("rescale")) text += ", guidance_rescale: " + std::to_string(c.get<double>("rescale"));
  text += "}\nimages: " + std::to_string(c.get_or<int>("images", c.has("task") ? 2 : 1)) + "\n";
  if (c.has("noise")) text += "noise: " + root + c.get<std::string>("noise") + ".safetensors\n";
  if (c.has("sdxl")) text += "sdxl: " + c.get<std::string>("sdxl") + "\n";
  if (c.has("clip_skip")) text += "text: {clip_skip: " + std::to_string(c.get<int>("clip_skip")) + "}\n";
  if (c.has("task")) {
    text += "task: " + c.get<std::string>("task") + "\nsource: {image: " + root +
            "source.png, strength: " + std::to_string(c.get<double>("strength"));
    text += c.get<std::string>("task") == "inpaint" ? ", mask: " + root + "mask.png}\n" : "}\n";
  }
  return text;
}

Model& model_at(const std::string& folder) {
  static std::map<std::string, std::unique_ptr<Model>> open;
  auto& slot = open[folder];
  if (!slot) slot = std::make_unique<Model>(folder, DType::f32);
  return *slot;
}

RunResult run(const std::string& text, const RunEvents& events = {}) {
  const std::string path = preset_file(text);
  const Preset preset = read_preset(path, {}, {});
  return generate(preset, path, model_at(find_model(preset.model, path)), events);
}

class PipelineParity : public ::testing::TestWithParam<Json> {};

TEST_P(PipelineParity, FinalLatentsAndPictureAgreeWithDiffusers) {
  static const TensorMap expected = read_safetensors(root + "expected.safetensors");
  const std::string name = GetParam().get<std::string>("name");
  if (GetParam().get<bool>("refused")) {  // epsilon says nothing where the signal is zero
    EXPECT_THROW(run(preset_text(GetParam())), Error);
    return;
  }
  const RunResult result = run(preset_text(GetParam()));
  EXPECT_LE(testing::error_over_std(result.latents, expected.at(name + ".latents")), 2e-3);
  EXPECT_LE(testing::error_over_std(result.image, expected.at(name + ".image")), 2e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, PipelineParity, ::testing::ValuesIn(testing::parity_cases(root)),
                         testing::case_name);

std::string with_model(std::string text, const std::string& model = "sd1") {
  return text.replace(text.find("model: sd1"), 10, "model: " + root + model);
}

TEST(Generate, SameBytesTwice) {
  const std::string text = with_model(base_preset);
  EXPECT_EQ(run(text).image.to_vector(), run(text).image.to_vector());
}

TEST(Generate, ExplainCountsTheCallsThatARunMakes) {
  const auto explained = [&](const std::string& text) {
    const std::string path = preset_file(with_model(text));
    const Preset preset = read_preset(path, {}, {.methods = method_names()});
    return explain_preset(preset, path, model_at(find_model(preset.model, path))).totals;
  };
  std::string heun = base_preset;
  heun.replace(heun.find("steps: 6"), 8, "name: heun, steps: 6");
  const std::string late = "task: image_to_image\nsource: {strength: 0.5, image: " + root + "source.png}\n";
  const std::string method = "attention: [ attend_and_excite: {subject_tokens: [cat], steps_fraction: 1} ]\n";
  for (const std::string& with : {std::string(), method}) {
    EXPECT_EQ(explained(base_preset + with).network_calls, 7);  // PNDM begins with an evaluation more
    EXPECT_EQ(explained(heun + with).network_calls, 11);
    EXPECT_EQ(explained(heun + late + with).network_calls, 5);
    EXPECT_EQ(explained(heun + late + with).guided_steps, with.empty() ? 0 : 3);
  }
}

TEST(Generate, StepsArePublishedAndACancelledRunKeepsItsEstimate) {
  int seen = 0;
  RunEvents events;
  events.on_step = [&](int done, int total) {
    EXPECT_EQ(done, ++seen);
    EXPECT_EQ(total, 7);  // PNDM begins with an evaluation more
  };
  events.cancelled = [&] { return seen == 3; };
  const RunResult result = run(with_model(base_preset), events);
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(result.image.shape(), (Shape{1, 3, 16, 16}));
}

TEST(Generate, PreviewsComeEveryNSteps) {
  int previews = 0;
  RunEvents events;
  events.on_preview = [&](const Image& image) {
    ++previews;
    EXPECT_EQ(image.width, 8);
  };
  run(with_model(base_preset) + "preview: {every: 2}\n", events);
  EXPECT_EQ(previews, 3);
}

ErrorCode code_of(const std::string& text) {
  try {
    run(text);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode{};
}

TEST(Generate, RefusesWhatDoesNotFit) {
  EXPECT_EQ(code_of(with_model(base_preset) + "task: inpaint\n"), ErrorCode::usage);
  EXPECT_EQ(code_of(with_model(base_preset, "inpaint9")), ErrorCode::usage);
  EXPECT_EQ(code_of(with_model(base_preset) + "source: {image: x.png}\n"), ErrorCode::usage);
  EXPECT_EQ(code_of(with_model(base_preset, "nowhere")), ErrorCode::usage);
  EXPECT_EQ(code_of(with_model(base_preset) + "noise: " + root + "cases.json\n"), ErrorCode::input);
  std::string odd = with_model(base_preset);
  EXPECT_EQ(code_of(odd.replace(odd.find("[16, 16]"), 8, "[17, 16]")), ErrorCode::usage);
}

}  // namespace
}  // namespace heddle
