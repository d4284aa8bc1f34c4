// Outdated schedules in a model's folder, against diffusers; classes that its model_index.json names.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/preset_file.h"
#include "io/safetensors.h"
#include "pipelines/generate.h"
#include "tests/pipelines/parity_cases.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

const std::string root = std::string(HEDDLE_FIXTURES) + "/pipelines/", schedules = root + "schedules/";

// The model's folder with another schedule.
class Folder {
 public:
  explicit Folder(const Json& c)
      : path_(fs::path(::testing::TempDir()) / ("heddle_schedule_" + std::to_string(getpid()))) {
    const fs::path model = root + c.get<std::string>("model");
    fs::remove_all(path_);
    fs::create_directories(path_ / "scheduler");
    for (const auto& entry : fs::directory_iterator(model)) {
      if (entry.is_directory() && entry.path().filename() != "scheduler")
        fs::create_directory_symlink(entry.path(), path_ / entry.path().filename());
    }
    nlohmann::json index = Json::read((model / "model_index.json").string()).node();
    index["scheduler"] = {"diffusers", c.get<std::string>("class")};
    std::ofstream(path_ / "model_index.json") << index;
    std::ofstream(path_ / "scheduler" / "scheduler_config.json") << c.node()["schedule"];
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

class Schedules : public ::testing::TestWithParam<Json> {};

TEST_P(Schedules, FinalLatentsAgreeWithDiffusers) {
  const Json& c = GetParam();
  const Folder folder(c);
  const std::string sampler = c.has("sampler") ? ", name: " + c.get<std::string>("sampler") : "";
  const std::string eta = c.has("eta") ? ", eta: " + std::to_string(c.get<double>("eta")) : "";
  const auto task = c.get<std::string>("task");
  const std::string preset_path = (folder / "preset.yaml").string();
  std::ofstream preset(preset_path);
  preset << "heddle: 1\nmodel: " << folder.path()
         << "\nprompt: \"a photo of the cat, 3 hats\"\nsize: [16, 16]\nseed: 3\n"
         << "sampler: {steps: 5, guidance: 4" << sampler << eta << "}\ntask: " << task << "\n";
  if (c.get<std::string>("model") != "lcm") preset << "negative: blurry\n";
  if (task == "generate") preset << "noise: " << root << "noise1.safetensors\n";
  if (task != "generate")
    preset << "source: {strength: " << c.get_or<double>("strength", 1) << ", image: " << root << "source.png"
           << (task == "inpaint" ? ", mask: " + root + "mask.png" : "") << "}\n";
  preset.close();
  Model model(folder.path(), DType::f32);
  const RunResult result = generate(read_preset(preset_path, {}, {}), preset_path, model, {});
  static const TensorMap expected = read_safetensors(schedules + "expected.safetensors");
  EXPECT_LE(testing::error_over_std(result.latents, expected.at(c.get<std::string>("name"))), 2e-4);
  const RunResult again = generate(result.preset, preset_path, model, {});
  EXPECT_EQ(result.latents.to_vector(), again.latents.to_vector()) << "by its own record";
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Schedules, ::testing::ValuesIn(testing::parity_cases(schedules)),
                         testing::case_name);

// SDXL's second encoder projects, whatever its own configuration says it was cut out of.
TEST(FolderClasses, TextEncodersAreOfTheClassThatTheIndexNames) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("heddle_classes_" + std::to_string(getpid()));
  fs::copy(root + "sdxl", folder, fs::copy_options::recursive);
  const std::string preset_path = (folder / "preset.yaml").string();
  const auto run = [&](const std::string& model) {
    std::ofstream(preset_path) << "heddle: 1\nmodel: " << model
                               << "\nprompt: a cat\nsize: [16, 16]\nsampler: {steps: 1}\n";
    Model opened(model, DType::f32);
    return generate(read_preset(preset_path, {}, {}), preset_path, opened, {}).latents.to_vector();
  };
  const std::vector<float> wanted = run(root + "sdxl");
  const std::string config = (folder / "text_encoder_2" / "config.json").string();
  for (const nlohmann::json& names : {nlohmann::json{"CLIPTextModel"}, nlohmann::json{"CLIPModel"}, nlohmann::json()}) {
    nlohmann::json object = Json::read(config).node();
    object["architectures"] = names;
    std::ofstream(config) << object;
    EXPECT_EQ(run(folder.string()), wanted) << names;
  }
  fs::remove_all(folder);
}

// A size that is not given is the network's own, [height, width].
TEST(FolderClasses, ANetworksOwnSizeMayBeAPair) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("heddle_pair_" + std::to_string(getpid()));
  fs::copy(root + "sd1", folder, fs::copy_options::recursive);
  const std::string config = (folder / "unet" / "config.json").string();
  nlohmann::json object = Json::read(config).node();
  object["sample_size"] = {4, 8};
  std::ofstream(config) << object;
  Model model(folder.string(), DType::f32);
  EXPECT_EQ(model.sample_size(), (WidthHeight{8, 4}));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace heddle
