// A component by its path.
#include <filesystem>

#include "io/checkpoint/checkpoint_file.h"
#include "io/gguf.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

std::string choices(const std::string& file, const std::vector<std::string>& components) {
  std::string out;
  for (const std::string& name : components) out += (out.empty() ? "" : " or ") + file + "/" + name;
  return out;
}

bool is_gguf(const std::string& path) {
  return path.ends_with(".gguf");
}

std::optional<Json> config_in(const std::string& folder) {
  if (folder.empty()) return std::nullopt;
  return Json::read(folder + "/config.json");
}

}  // namespace

ComponentSource open_component_folder(const std::string& folder) {
  return {Json::read(folder + "/config.json"), std::make_unique<Weights>(folder)};
}

bool is_checkpoint_file(const std::string& path) {
  return is_gguf(path) || path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json");
}

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path) {
  if (!is_gguf(path)) return std::make_unique<SafetensorsSet>(path);
  auto file = std::make_unique<GgufFile>(path);
  const std::string& kind = file->architecture();
  if (!kind.empty() && kind != "flux" && kind != "sd3" && kind != "t5encoder")
    fail(ErrorCode::input, path + " general.architecture", "flux, sd3 or t5encoder", kind);
  return file;
}

ComponentSource open_component(const std::string& path, const std::string& config) {
  const std::string parent = fs::path(path).parent_path().string();
  if (is_checkpoint_file(parent))
    return CheckpointFile(parent).open(fs::path(path).filename().string(), "", config_in(config));
  if (!is_checkpoint_file(path)) {
    if (!config.empty()) fail(ErrorCode::usage, "config", "a component that is a file", path, "no config for a folder");
    return open_component_folder(path);
  }
  const CheckpointFile file(path);
  const std::vector<std::string> held = file.components();
  if (held.size() != 1)
    fail(ErrorCode::usage, path, "one component", std::to_string(held.size()) + " in this file", choices(path, held));
  return file.open(held[0], "", config_in(config));
}

}  // namespace heddle
