// Editing a picture: inverted states and final latents against diffusers' inversion and transcribed methods; what is
// inverted comes back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
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
const std::string root = std::string(HEDDLE_FIXTURES) + "/methods/inversion/";

// The case's preset with heddle's own spelling of its inversion.
nlohmann::json preset_of(const nlohmann::json& c, const std::string& save) {
  nlohmann::json preset = c.at("preset");
  const nlohmann::json& inversion = c.at("inversion");
  const int evaluations = inversion.at("iterations");
  preset["source"]["prompt"] = inversion.at("prompt");
  preset["inversion"] = {{"method", evaluations > 1 ? "fixed_point" : "ddim"},
                         {"guidance", inversion.at("guidance")},
                         {"iterations", std::max(evaluations - 1, 1)},
                         {"hold", false},
                         {"save", save}};
  if (c.contains("attention")) {
    preset["attention"] = c.at("attention");
    for (auto& [name, settings] : preset["attention"][0].items()) {
      if (settings.contains("use_inversion_trajectory")) {
        preset["inversion"]["hold"] = settings["use_inversion_trajectory"];
        settings.erase("use_inversion_trajectory");
      }
      if (settings.contains("source")) settings["source"].erase("image");
    }
  }
  return preset;
}

std::vector<std::string> cases() {
  const std::vector<std::string> names = method_names();
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (entry.path().extension() != ".json") continue;
    const Json c = Json::read(entry.path().string());
    const bool known =
        !c.has("attention") || std::ranges::find(names, c.node().at("attention")[0].begin().key()) != names.end();
    if (known) out.push_back(entry.path().stem().string());
  }
  std::ranges::sort(out);
  return out;
}

class EditParity : public ::testing::TestWithParam<std::string> {};

TEST_P(EditParity, InvertedStatesAndFinalLatentsAgree) {
  const std::string path = root + GetParam() + ".json";
  const std::string saved = ::testing::TempDir() + "heddle_inverted_" + std::to_string(getpid()) + ".safetensors";
  const Preset preset =
      preset_from_json(preset_of(Json::read(path).node(), saved).dump(), path, {.methods = method_names()});
  Model model(find_model(preset.model, path), DType::f32);
  const RunResult result = generate(preset, path, model, {});
  const TensorMap expected = read_safetensors(root + GetParam() + ".safetensors");
  std::vector<Tensor> states = split(read_safetensors(saved).at("trajectory"), 0, expected.at("inverted").dim(0));
  std::ranges::reverse(states);  // the fixture begins with the clean picture
  EXPECT_LE(error_over_std(concat(states, 0), expected.at("inverted")), 5e-3);
  // A held source ends as the picture itself, where the original lets the last step's own result stand.
  const int64_t from = preset.inversion->hold ? 1 : 0, rows = result.latents.dim(0);
  EXPECT_LE(error_over_std(slice(result.latents, 0, from, rows), slice(expected.at("latents"), 0, from, rows)), 5e-3);
  if (from > 0) {
    EXPECT_EQ(slice(result.latents, 0, 0, 1).to_vector(), states.front().to_vector());
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EditParity, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param; });

// An edit of a UNet by RF-Edit, with keys of the inversion and perhaps of the preset.
Tensor lent(const nlohmann::json& inversion, double inject_steps, const nlohmann::json& keys = {}) {
  const std::string path = root + "here.yaml";
  nlohmann::json preset{{"heddle", 1},
                        {"model", "../models/sd2"},
                        {"task", "edit"},
                        {"source", {{"image", "../source.png"}, {"prompt", "a cat and a red hat"}}},
                        {"prompt", "a dog and a red hat"},
                        {"size", {32, 32}},
                        {"sampler", {{"name", "ddim"}, {"steps", 6}, {"guidance", 3}}},
                        {"inversion", inversion},
                        {"attention", {{{"rf_edit", {{"inject_steps", inject_steps}}}}}}};
  for (const auto& [key, value] : keys.items()) preset[key] = value;
  static Model model(find_model("../models/sd2", path), DType::f32);
  return generate(preset_from_json(preset.dump(), path, {.methods = method_names()}), path, model, {}).latents;
}

// The values of every kind of inversion are found again; those of a loaded one are what it met.
TEST(EditsOfUnets, ShareSelfAttentionOnTheWayUp) {
  const std::string saved = ::testing::TempDir() + "heddle_lent_" + std::to_string(getpid()) + ".safetensors";
  for (const std::string method : {"ddim", "fixed_point", "second_order"}) {
    const nlohmann::json inversion{{"method", method}, {"guidance", 1}, {"save", saved}};
    const nlohmann::json loaded{{"method", method}, {"guidance", 1}, {"load", saved}};
    const Tensor plain = lent(inversion, 0), shared = lent(inversion, 3), again = lent(loaded, 3);
    EXPECT_GT(error_over_std(shared, plain), 0.01) << method;
    if (method == "ddim") {
      EXPECT_EQ(again.to_vector(), shared.to_vector());
    } else {
      EXPECT_LE(error_over_std(again, shared), 0.2 * error_over_std(shared, plain)) << method;
    }
  }
}

// The same prompt without guidance visits the states of the inversion, so the values lent are the run's own, of the
// same step: all of them change next to nothing. (Those of the next step change a fifteenth of the deviation.)
TEST(EditsOfUnets, AReconstructionIsLentItsOwnValues) {
  const nlohmann::json keys{{"prompt", "a cat and a red hat"},
                            {"sampler", {{"name", "ddim"}, {"steps", 6}, {"guidance", 1}}}};
  const nlohmann::json inversion{{"method", "fixed_point"}, {"guidance", 1}, {"iterations", 10}};
  EXPECT_LE(error_over_std(lent(inversion, 6, keys), lent(inversion, 0, keys)), 1e-4);
}

}  // namespace
}  // namespace heddle
