// Runs of presets on the tiny random SD3 and FLUX folders of tests/fixtures/pipelines/joint.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention_control/plugins/registry.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "pipelines/generate.h"

namespace heddle::testing {

inline const std::string joint_root = std::string(HEDDLE_FIXTURES) + "/pipelines/joint/";

inline Model& joint_model(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Model>> open;
  auto& slot = open[name];
  if (!slot) slot = std::make_unique<Model>(joint_root + name, DType::f32);
  return *slot;
}

// Names of files in a case are relative to the fixtures.
inline std::string with_files(std::string text) {
  const std::pair<const char*, const char*> files[] = {{"noise: noise\n", "noise.safetensors\n"},
                                                       {"noise: noise_packed\n", "noise_packed.safetensors\n"}};
  for (const auto& [line, file] : files) {
    const size_t at = text.find(line);
    if (at != std::string::npos) text.replace(at, std::string(line).size(), "noise: " + joint_root + file);
  }
  for (const std::string name : {"source.png", "mask.png"}) {
    const size_t at = text.find(": " + name);
    if (at != std::string::npos) text.insert(at + 2, joint_root);
  }
  return text;
}

// Where a test may write.
inline std::string scratch(const std::string& name) {
  return ::testing::TempDir() + "heddle_joint_" + std::to_string(getpid()) + "_" + name;
}

inline Preset joint_preset(const std::string& model, const std::string& lines,
                           const std::vector<std::string>& overrides = {}) {
  const std::string path = scratch("preset.yaml");
  const char* size = lines.find("size:") == std::string::npos ? "size: [24, 16]\n" : "";
  std::ofstream(path) << "heddle: 1\nmodel: " << joint_root << model << "\nseed: 3\n" << size << with_files(lines);
  return read_preset(path, overrides, {.methods = method_names()});
}

inline RunResult joint_run(const std::string& model, const std::string& lines,
                           const std::vector<std::string>& overrides = {}) {
  return generate(joint_preset(model, lines, overrides), scratch("preset.yaml"), joint_model(model), {});
}

}  // namespace heddle::testing
