// Presets in and out, and the checks that concern several keys at once.
#include "io/preset_file.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

// A node to blame: the one of `key`, or the whole.
const YamlNode& blame(const YamlNode& root, std::string_view key) {
  const YamlNode* node = root.find(key);
  return node != nullptr ? *node : root;
}

[[noreturn]] void fail_at(const YamlNode& root, std::string_view key, const std::string& wanted, const std::string& got,
                          const std::string& hint = {}) {
  fail(ErrorCode::usage, blame(root, key).where, wanted, got, hint);
}

void check_prompts(const Preset& preset, const YamlNode& root) {
  const size_t prompts = preset.prompt.values.size(), negatives = preset.negative.values.size();
  if (prompts == 0 && preset.attention.empty()) fail_at(root, "prompt", "the key \"prompt\"", "none");
  if (negatives > 1 && prompts > 0 && negatives != prompts) {
    fail_at(root, "negative", "one negative prompt, or " + std::to_string(prompts), std::to_string(negatives));
  }
}

void check_source(const Preset& preset, const YamlNode& root) {
  const bool finds = preset.source && preset.source->find_mask;
  if (!preset.save_mask.empty() && !finds) fail_at(root, "save_mask", "source: {find_mask: {}}", "none");
  if (preset.task == Task::generate) {
    if (preset.source) fail_at(root, "source", "no source with task generate", "one", "task: image_to_image");
    if (preset.inversion) fail_at(root, "inversion", "no inversion with task generate", "one", "task: edit");
    return;
  }
  if (!preset.source) fail_at(root, "task", "source: {image: ...} with this task", "none");
  const bool has_mask = !preset.source->mask.empty();
  if (preset.task == Task::inpaint && !has_mask) fail_at(root, "source", "a mask with task inpaint", "none");
  if (preset.task == Task::image_to_image && has_mask)
    fail_at(root, "source", "no mask with this task", "one", "task: inpaint or edit");
  if (finds && preset.task != Task::edit) fail_at(root, "source", "find_mask with task edit alone", "one");
  if (finds && has_mask) fail_at(root, "source", "mask or find_mask", "both");
  if (preset.inversion && preset.task != Task::edit)
    fail_at(root, "inversion", "no inversion but with task edit", "one", "task: edit");
  if (preset.task == Task::edit && preset.source->strength)
    fail_at(root, "source", "no strength with task edit", "one", "task: image_to_image");
}

void check_outputs(const Preset& preset, const YamlNode& root) {
  const auto check = [&](std::string_view key, const std::string& path, const char* ending) {
    std::string lower = path;
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (!lower.ends_with(ending)) fail_at(root, key, std::string("a name that ends in ") + ending, "\"" + path + "\"");
  };
  check("output", preset.output, ".png");
  if (preset.preview) check("preview", preset.preview->file, ".png");
  if (!preset.save_latents.empty()) check("save_latents", preset.save_latents, ".safetensors");
  if (!preset.save_losses.empty()) check("save_losses", preset.save_losses, ".svg");
  if (!preset.save_mask.empty()) check("save_mask", preset.save_mask, ".png");
  if (!preset.save_image_tensor.empty()) check("save_image_tensor", preset.save_image_tensor, ".safetensors");
}

void check_methods(const Preset& preset, const PresetChoices& choices) {
  for (const AttentionEntry& entry : preset.attention) {
    if (std::ranges::find(choices.methods, entry.name) != choices.methods.end()) continue;
    const std::string known = choices.methods.empty() ? "none in this build" : one_of(choices.methods).text();
    const std::string near = nearest_word(entry.name, choices.methods);
    fail(ErrorCode::usage, entry.settings.where, "an attention method (" + known + ")", "\"" + entry.name + "\"", near);
  }
}

}  // namespace

Preset preset_from_yaml(const YamlNode& root, const PresetChoices& choices) {
  auto preset = read_params<Preset>(root);
  if (preset.model.empty()) fail_at(root, "model", "a model", "an empty name");
  check_methods(preset, choices);
  check_prompts(preset, root);
  check_source(preset, root);
  check_outputs(preset, root);
  return preset;
}

Preset read_preset(const std::string& path, const std::vector<std::string>& overrides, const PresetChoices& choices) {
  YamlNode root = read_yaml(path);
  if (root.where.empty()) root.where = path;  // an empty file has no value that could say where it stands
  for (const std::string& assignment : overrides) set_yaml(root, assignment);
  return preset_from_yaml(root, choices);
}

std::string preset_to_json(const Preset& preset) {
  return yaml_to_json(Preset::params().write(preset));
}

Preset preset_from_json(std::string_view text, const std::string& where, const PresetChoices& choices) {
  return preset_from_yaml(yaml_from_json(text, where), choices);
}

std::string find_beside(const std::string& path, const std::string& preset_path) {
  std::error_code ignored;
  const fs::path beside = fs::path(preset_path).parent_path() / path;
  return !fs::exists(path, ignored) && fs::exists(beside, ignored) ? beside.string() : path;
}

std::string file_of(std::string_view where) {
  for (size_t at = where.find(':'); at != std::string_view::npos; at = where.find(':', at + 1)) {
    const size_t end = std::min(where.find_first_not_of("0123456789", at + 1), where.size());
    if (end > at + 1 && (end == where.size() || where[end] == ' ')) return std::string(where.substr(0, at));
  }
  return std::string(where);
}

}  // namespace heddle
