// Whole runs with attention methods against the originals, on tiny random models: final latents, and the losses of
// guiding methods at every evaluation.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "attention_control/plugins/registry.h"
#include "io/json.h"
#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generate.h"
#include "tests/pipelines/word_maps_check.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;
using testing::error_over_std;
using testing::expect_maps_of_words;
const std::string root = std::string(HEDDLE_FIXTURES) + "/methods/";

std::vector<std::string> cases() {
  const std::vector<std::string> names = method_names();
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const fs::path path = fs::relative(entry.path(), root);
    const bool known = std::ranges::find(names, path.parent_path().string()) != names.end();
    if (path.filename().string().starts_with("case_") && path.extension() == ".json" && known)
      out.push_back((path.parent_path() / path.stem()).string());
  }
  std::ranges::sort(out);
  return out;
}

Model& model_at(const std::string& folder) {
  static std::map<std::string, std::unique_ptr<Model>> open;
  auto& slot = open[fs::weakly_canonical(folder).string()];
  if (!slot) slot = std::make_unique<Model>(folder, DType::f32);
  return *slot;
}

class MethodParity : public ::testing::TestWithParam<std::string> {};

// The losses of each step, in the order of evaluation, of the first picture.
std::vector<std::vector<double>> losses_of(const RunResult& result, size_t steps) {
  std::vector<std::vector<double>> out(steps);
  for (const GuideRecord& record : result.losses) {
    if (record.picture == 0) out[static_cast<size_t>(record.step)].push_back(record.loss);
  }
  return out;
}

TEST_P(MethodParity, FinalLatentsAndLossesAgreeWithTheOriginal) {
  const std::string path = root + GetParam() + ".json";
  const Json c = Json::read(path);
  const Preset preset = preset_from_json(c.node().at("preset").dump(), path, {.methods = method_names()});
  const RunResult result = generate(preset, path, model_at(find_model(preset.model, path)), {});
  const TensorMap expected = read_safetensors(root + GetParam() + ".safetensors");
  const double error = error_over_std(result.latents, expected.at("latents"));
  RecordProperty("error_over_std", std::to_string(error));
  EXPECT_LE(error, 2e-3);
  // The method has to matter more than the tolerance, or the case shows nothing.
  EXPECT_GT(error_over_std(expected.at("plain"), expected.at("latents")), 5e-2);
  if (!c.has("losses")) return;
  const auto losses = losses_of(result, c.node().at("losses").size());
  for (size_t step = 0; step < losses.size(); ++step) {
    const auto wanted = c.node().at("losses")[step].get<std::vector<double>>();
    ASSERT_EQ(losses[step].size(), wanted.size()) << "step " << step << ": " << ::testing::PrintToString(losses[step]);
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(losses[step][i], wanted[i], 2e-3) << "step " << step;
  }
}

const std::string sd1 = root + "models/sd1";

RunResult run(const std::string& more) {
  const std::string text = "heddle: 1\nmodel: " + sd1 +
                           "\nprompt: a cat and a red hat\nnegative: blurry\nsize: [32, 32]\nseed: 5\n" +
                           "sampler: {name: ddim, steps: 6, guidance: 5}\n" + more;
  const Preset preset = preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()});
  return generate(preset, "test.yaml", model_at(sd1), {});
}

// A method at zero strength is the plain run, bit for bit.
TEST(Methods, ZeroStrengthIsThePlainRunBitForBit) {
  const std::vector<float> plain = run("").latents.to_vector();
  for (const char* method :
       {"attend_and_excite: {subject_tokens: [cat, hat], scale: 0}",
        "a_star: {concept_tokens: [cat, hat], step_size: {scale: 0}}",
        "a_star: {concept_tokens: [cat, hat], w_seg: 0, w_ret: 0}", "perturbed_attention: {scale: 0}",
        "tgate: {gate_step: 6, sp_interval: 1}",
        "attention_modulation: {self_temperature: {value: 1}, object_mask: {from: 0, until: 0}, phase_weights: []}"}) {
    EXPECT_EQ(run(std::string("attention: [ ") + method + " ]\n").latents.to_vector(), plain) << method;
  }
}

TEST(Methods, MapsOfWordsCoverThePromptAndSumBelowOne) {
  const RunResult result = run("images: 2\nsave_maps: maps\n");
  expect_maps_of_words(result, 0);
  // Reading changes nothing.
  EXPECT_EQ(result.latents.to_vector(), run("images: 2\n").latents.to_vector());
}

TEST(Methods, GuidedPicturesDoNotDependOnTheirNeighbours) {
  const std::string method =
      "attention: [ attend_and_excite: {subject_tokens: [cat, hat], attention_res: 8, scale: 2} ]\n";
  const RunResult two = run("images: 2\n" + method), one = run(method);
  EXPECT_LE(error_over_std(slice(two.latents, 0, 0, 1), one.latents), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, MethodParity, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param;
  for (char& ch : name) ch = std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
  return name;
});

}  // namespace
}  // namespace heddle
