// Model folders broken in every way a disk or a hand can break them: each ends in one line and the documented code, or
// in a picture where the change does not matter; never in a crash or an allocation beyond the budget.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "pipelines/defaults.h"
#include "pipelines/generate.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

const fs::path source = fs::path(HEDDLE_FIXTURES) / "pipelines" / "sd1";

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out.push_back(fs::relative(entry.path(), folder));
  }
  std::sort(out.begin(), out.end());
  return out;
}

class BrokenFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("heddle_broken_" + std::to_string(getpid()));
    set_memory_budget(memory_stats().in_use + (int64_t{256} << 20));
  }
  void TearDown() override {
    set_memory_budget(0);
    fs::remove_all(folder_);
  }

  void restore() {
    fs::remove_all(folder_);
    fs::copy(source, folder_, fs::copy_options::recursive);
  }

  void write(const fs::path& file, const std::string& contents) {
    std::ofstream(folder_ / file, std::ios::binary) << contents;
  }

  // Runs two steps. What an error says is checked here; returns whether there was one.
  bool fails(const std::string& what) {
    ++tried_;
    const std::string path = (folder_ / "preset.yaml").string();
    std::ofstream(path) << "heddle: 1\nmodel: " << folder_.string()
                        << "\nprompt: a cat\nsize: [16, 16]\nsampler: {steps: 2}\n";
    try {
      const Preset preset = read_preset(path, {}, {});
      Model model(find_model(preset.model, path), DType::f32);
      generate(preset, path, model, {});
      return false;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find('\n'), std::string::npos) << what << ": " << text;
      EXPECT_EQ(text.front(), '[') << what << ": " << text;
      EXPECT_NE(text.find("] wanted "), std::string::npos) << what << ": " << text;
      EXPECT_NE(text.find("; got "), std::string::npos) << what << ": " << text;
      EXPECT_NE(error.code(), ErrorCode::internal) << what << ": " << text;
      return true;
    }
  }

  fs::path folder_;
  int tried_ = 0;
};

TEST_F(BrokenFolder, SoundOneRuns) {
  restore();
  EXPECT_FALSE(fails("nothing broken"));
}

TEST_F(BrokenFolder, FilesMissingEmptyCutOrOfAnotherKind) {
  // What a run can do without: the tokenizer's files have defaults for these.
  const auto optional = [](const fs::path& file) {
    const std::string name = file.filename().string();
    return name == "tokenizer_config.json" || name == "special_tokens_map.json" || name == "tokenizer.json";
  };
  for (const fs::path& file : files_of(source)) {
    const std::string whole = read_file((source / file).string(), 1 << 26);
    const auto must_fail = [&](const std::string& how) {
      EXPECT_TRUE(fails(file.string() + " " + how)) << file << " " << how;
    };
    restore();
    fs::remove(folder_ / file);
    optional(file) ? void(fails(file.string() + " missing")) : must_fail("missing");
    fs::create_directory(folder_ / file);
    optional(file) ? void(fails(file.string() + " a folder")) : must_fail("a folder");
    restore();
    for (const std::string& text :
         {std::string(), std::string("\0\xff\xfe garbage", 11), whole.substr(0, whole.size() / 2),
          whole.substr(0, whole.size() - 1 - whole.size() / 50)}) {
      write(file, text);
      // A list of merges cut off is a shorter list.
      file.filename() == "merges.txt" || optional(file) ? void(fails(file.string() + " cut")) : must_fail("cut");
    }
    if (file.extension() != ".json") continue;
    for (const char* text : {"[]", "null", "{}", "1e999", "{\"a\":", "\"text\""}) {
      write(file, text);
      // {} is a configuration of defaults for some components; it must still not crash.
      fails(file.string() + " " + text);
    }
  }
  EXPECT_GT(tried_, 100);
}

// Every key of every configuration given values of other types and sizes.
TEST_F(BrokenFolder, ConfigurationValuesOfOtherTypesAndSizes) {
  const std::vector<nlohmann::json> values{-1,
                                           0,
                                           3,
                                           1LL << 40,
                                           1e30,
                                           -0.5,
                                           "x",
                                           "",
                                           true,
                                           nullptr,
                                           nlohmann::json::array(),
                                           nlohmann::json::object(),
                                           {1, "a"},
                                           {-4, 1 << 30},
                                           {4, 4, 4, 4, 4, 4, 4}};
  for (const char* file : {"unet/config.json", "vae/config.json", "text_encoder/config.json",
                           "scheduler/scheduler_config.json", "model_index.json"}) {
    const nlohmann::json sound = nlohmann::json::parse(read_file((source / file).string(), 1 << 20));
    restore();
    for (const auto& [key, unused] : sound.items()) {
      for (const nlohmann::json& value : values) {
        nlohmann::json changed = sound;
        changed[key] = value;
        write(file, changed.dump());
        fails(std::string(file) + " " + key + " = " + value.dump());
      }
    }
    nlohmann::json unknown = sound;
    unknown["unheard_of"] = 1;
    write(file, unknown.dump());
    fails(std::string(file) + " unknown key");
  }
  EXPECT_GT(tried_, 800);
}

TEST_F(BrokenFolder, AdviceIsTakenWhereThePresetSaysNothing) {
  restore();
  write("heddle.json", R"({"sampler": {"steps": 3, "guidance": 2.5}})");
  const auto filled = [&](const std::string& lines) {
    const std::string path = (folder_ / "preset.yaml").string();
    std::ofstream(path) << "heddle: 1\nmodel: " << folder_.string() << "\nprompt: a cat\n" << lines;
    Preset preset = read_preset(path, {}, {});
    Model model(find_model(preset.model, path), DType::f32);
    fill_defaults(preset, model);
    return preset.sampler;
  };
  EXPECT_EQ(filled("").steps, 3);
  EXPECT_EQ(filled("").guidance, 2.5);
  EXPECT_EQ(filled("sampler: {guidance: 4}\n").steps, 3);
  EXPECT_EQ(filled("sampler: {guidance: 4}\n").guidance, 4);
  EXPECT_EQ(filled("sampler: {steps: 7}\n").steps, 7);
  for (const char* advice :
       {R"({"sampler": {"steps": 0}})", R"({"sampler": {"steps": 1e9}})", R"({"sampler": {"guidance": -1}})",
        R"({"sampler": {"guidance": "high"}})", R"({"sampler": {"guidence": 3}})", R"({"sampler": 3})",
        R"({"prompt": "a cat"})", "[", ""}) {
    write("heddle.json", advice);
    EXPECT_TRUE(fails(advice)) << advice;
  }
}

}  // namespace
}  // namespace heddle
