// Where a folder keeps its weights, and the shards of an index.
#include "io/weights.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "io/json.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const std::string& path) {
  return fs::path(path).parent_path().string();
}

bool is_index(const std::string& path) {
  return path.ends_with(".json");
}

// A shard must lie in the index's own folder.
void check_shard_name(const std::string& index, const std::string& file) {
  const bool plain = file.find_first_of("/\\") == file.npos && file.find('\0') == file.npos;
  if (!plain || !file.ends_with(".safetensors")) {
    fail(ErrorCode::input, index, "shards that are .safetensors files of the same folder", "\"" + file + "\"");
  }
}

std::string what_it_holds(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; it != end && names.size() < 8; it.increment(ignored)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "an empty folder" : out;
}

bool holds_pickles(const std::string& held) {
  return held.find(".bin") != held.npos || held.find(".ckpt") != held.npos || held.find(".pt") != held.npos;
}

std::string join(const std::vector<std::string>& names, size_t most) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), most); ++i) out += (i ? ", " : "") + names[i];
  if (names.size() > most) out += " and " + std::to_string(names.size() - most) + " more";
  return out;
}

std::string location(const std::string& path) {
  return path.ends_with(".safetensors") || path.ends_with(".json") ? path : find_weights(path);
}

}  // namespace

SafetensorsSet::SafetensorsSet(const std::string& path) : path_(path) {
  if (is_index(path)) {
    add_index(path);
  } else {
    add_shard(path);
  }
  for (const auto& [name, shard] : names_) shapes_.emplace(name, entry(name).shape);
}

void SafetensorsSet::add_index(const std::string& path) {
  const Json index = Json::read(path).get<Json>("weight_map");
  std::map<std::string, int> shard_numbers;
  std::map<std::string, int> placed;
  for (const std::string& name : index.keys()) {
    const auto file = index.get<std::string>(name);
    const auto [entry, is_new] = shard_numbers.emplace(file, static_cast<int>(shards_.size()));
    if (is_new) {
      check_shard_name(path, file);
      add_shard((fs::path(folder_of(path)) / file).string());
    }
    if (!shards_[static_cast<size_t>(entry->second)].has(name)) {
      fail(ErrorCode::input, path, "the tensor \"" + name + "\" in " + file, "none of that name there");
    }
    placed[name] = entry->second;
  }
  for (const auto& [name, shard] : placed) names_[name] = shard;
}

void SafetensorsSet::add_shard(const std::string& file) {
  shards_.emplace_back(file);
  const int number = static_cast<int>(shards_.size()) - 1;
  for (const auto& [name, entry] : shards_.back().entries()) names_.emplace(name, number);
}

const SafetensorsFile& SafetensorsSet::shard_of(const std::string& name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) {
    std::vector<std::string> all;
    for (const auto& [known, shard] : names_) all.push_back(known);
    const std::string near = nearest_word(name, all);
    fail(ErrorCode::input, path_, "the tensor \"" + name + "\"",
         near.empty() ? "none of that name" : "none of that name (the nearest is \"" + near + "\")",
         "a checkpoint of the model that its config.json describes");
  }
  return shards_[static_cast<size_t>(found->second)];
}

const TensorEntry& SafetensorsSet::entry(const std::string& name) const {
  return shard_of(name).entries().at(name);
}

Tensor SafetensorsSet::read(const std::string& name) const {
  return shard_of(name).read(name);
}

void SafetensorsSet::release(const Tensor& tensor) const {
  for (const SafetensorsFile& shard : shards_) shard.release(tensor);
}

std::string find_weights(const std::string& folder) {
  std::error_code ignored;
  for (const std::string variant : {"", ".fp16"}) {
    for (const std::string stem : {"diffusion_pytorch_model", "model"}) {
      for (const std::string& file :
           {stem + variant + ".safetensors", stem + ".safetensors.index" + variant + ".json"}) {
        const fs::path path = fs::path(folder) / file;
        if (fs::exists(path, ignored)) return path.string();
      }
    }
  }
  if (!fs::is_directory(folder, ignored)) fail(ErrorCode::input, folder, "a component folder", "none there");
  const std::string held = what_it_holds(folder);
  fail(ErrorCode::input, folder, "diffusion_pytorch_model.safetensors, model.safetensors or their index", held,
       holds_pickles(held) ? "converting the checkpoint to safetensors (heddle reads no pickles)" : "");
}

void fail_unused(const std::string& path, const std::vector<std::string>& names) {
  fail(ErrorCode::input, path, "only tensors of the model that config.json describes",
       std::to_string(names.size()) + " more: " + join(names, 4), "the weights that belong to this config.json");
}

Weights::Weights(const std::string& path) : tensors_(location(path)) {}

Tensor Weights::take(const std::string& name, const Shape& shape) {
  const Shape& got = tensors_.entry(name).shape;
  if (!(got == shape)) {
    fail(ErrorCode::input, tensors_.path() + " " + name, "shape " + shape.text(), got.text(),
         "the weights that belong to this config.json");
  }
  return take_any(name);
}

Tensor Weights::take_any(const std::string& name) {
  Tensor tensor = tensors_.read(name);
  used_.insert(name);
  return tensor;
}

std::vector<std::string> Weights::names() const {
  std::vector<std::string> out;
  for (const auto& [name, shard] : tensors_.names()) out.push_back(name);
  return out;
}

std::vector<std::string> Weights::unused() const {
  std::vector<std::string> out;
  for (const auto& [name, shard] : tensors_.names()) {
    if (!used_.contains(name)) out.push_back(name);
  }
  return out;
}

void Weights::require_all_used() const {
  if (const std::vector<std::string> surplus = unused(); !surplus.empty()) fail_unused(tensors_.path(), surplus);
}

}  // namespace heddle
