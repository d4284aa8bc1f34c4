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
#include "kernels/ops/view.h"
#include "pipelines/generate.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;
using testing::error_over_std;
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
  EXPECT_LE(error_over_std(result.latents, expected.at("latents")), 5e-3);
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

INSTANTIATE_TEST_SUITE_P(Fixtures, MethodParity, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param;
  for (char& ch : name) ch = std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
  return name;
});

}  // namespace
}  // namespace heddle
