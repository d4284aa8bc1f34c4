// Looks for components: on their own, in the model, in the folder of configurations.
#include "pipelines/model_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "pipelines/shelves.h"
#include "samplers/scheduler_keys.h"

namespace heddle {
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::ranges::find(list, name) != list.end();
}

// A folder that holds a component whole.
bool has_weights(const std::string& folder) {
  try {
    return exists(folder + "/config.json") && !find_weights(folder).empty();
  } catch (const Error&) {
    return false;
  }
}

// A text encoder is what model_index.json says; `architectures` may be absent or tell of what it was cut out of.
Json of_class(const Json& config, const std::string& name) {
  nlohmann::json object = config.node();
  if (!object.is_object()) return config;  // its reader says what is wrong with it
  object["architectures"] = {name};
  return Json::parse(object.dump(), config.where());
}

}  // namespace

std::string find_model(const std::string& name, const std::string& preset_path) {
  if (is_checkpoint_file(name)) {
    const std::string path = find_beside(name, preset_path);
    if (!exists(path)) fail(ErrorCode::usage, "model", "a file that is there", name);
    return path;
  }
  return find_folder(name, preset_path,
                     {.where = "model",
                      .what = "a diffusers folder with model_index.json, or a .safetensors or .gguf file",
                      .mark = "model_index.json"});
}

ModelFiles::ModelFiles(Paths paths) : paths_(std::move(paths)) {
  if (!is_checkpoint_file(paths_.model)) {
    read_folder();
    return;
  }
  file_.emplace(paths_.model);
  where_ = paths_.model;
  pipeline_ = file_->pipeline();
  // Of SDXL's two networks the class for pictures from pictures means the refiner, which knows the empty text.
  requires_aesthetic_score_ = pipeline_ == "StableDiffusionXLImg2ImgPipeline";
  zeros_for_empty_prompt_ = !requires_aesthetic_score_;
  if (pipeline_.empty()) {
    fail(ErrorCode::input, where_, "a model, or its denoiser alone",
         file_->components().front() + " without a denoiser", "a file with model.diffusion_model.*");
  }
}

void ModelFiles::read_folder() {
  const Json index = Json::read(paths_.model + "/model_index.json");
  where_ = index.where();
  pipeline_ = index.get<std::string>("_class_name");
  zeros_for_empty_prompt_ = index.get_or<bool>("force_zeros_for_empty_prompt", true);
  requires_aesthetic_score_ = index.get_or<bool>("requires_aesthetics_score", false);
  for (const std::string& key : index.keys()) {
    if (!index.has(key)) continue;            // null: not there
    const Json entry = index.get<Json>(key);  // [library, class]
    if (entry.is_array() && entry.size() == 2 && entry[1].node().is_string()) listed_[key] = entry[1].as<std::string>();
  }
  read_advice();
}

void ModelFiles::read_advice() {
  const std::string path = paths_.model + "/heddle.json";
  if (!exists(path)) return;
  const Json file = Json::read(path);
  file.require_known({"sampler"});
  if (!file.has("sampler")) return;
  const Json sampler = file.get<Json>("sampler");
  sampler.require_known({"steps", "guidance"});
  const auto within = [&](const char* key, double value, double low, double high) {
    if (value >= low && value <= high) return;
    fail(ErrorCode::input, sampler.where() + " " + key, number_text(low) + " to " + number_text(high),
         number_text(value));
  };
  if (sampler.has("steps")) within("steps", *(advice_.steps = sampler.get<int>("steps")), 1, 1000);
  if (sampler.has("guidance")) within("guidance", *(advice_.guidance = sampler.get<double>("guidance")), 0, 100);
}

ModelFiles ModelFiles::of(const Preset& preset, const std::string& preset_path) {
  const auto found = [&](const std::string& path) { return path.empty() ? path : find_beside(path, preset_path); };
  Paths paths{.model = find_model(preset.model, preset_path), .config = found(preset.config)};
  if (!paths.config.empty() && !std::filesystem::is_directory(paths.config))
    fail(ErrorCode::usage, "config", "a folder as diffusers writes it, with or without weights", preset.config);
  for (const auto& [name, path] : {std::pair{"unet", preset.unet},
                                   {"transformer", preset.transformer},
                                   {"text_encoder", preset.text_encoder},
                                   {"text_encoder_2", preset.text_encoder_2},
                                   {"text_encoder_3", preset.text_encoder_3},
                                   {"vae", preset.vae.file}}) {
    if (path.empty()) continue;
    paths.own[name] = found(path);
    if (!exists(paths.own[name])) fail(ErrorCode::usage, name, "a component folder or a file that is there", path);
  }
  return ModelFiles(std::move(paths));
}

void ModelFiles::require_known(const std::vector<std::string>& components) const {
  for (const auto& [name, path] : paths_.own) {
    if (!contains(components, name))
      fail(ErrorCode::usage, name, "components that " + pipeline_ + " has", path, nearest_word(name, components));
  }
}

bool ModelFiles::lacks_first_encoder() const {
  return file_ ? requires_aesthetic_score_ : !listed_.contains("tokenizer");
}

bool ModelFiles::has(const std::string& component) const {
  if (paths_.own.contains(component)) return true;
  if (file_ ? file_->has(component) : listed_.contains(component)) return true;
  if (paths_.config.empty()) return false;
  const std::string folder = paths_.config + "/" + component;
  return component.starts_with("tokenizer") ? exists(folder) : has_weights(folder);
}

std::optional<Json> ModelFiles::config_for(const std::string& component) const {
  for (const std::string& folder : {paths_.config, file_ ? std::string() : paths_.model}) {
    const std::string path = folder + "/" + component + "/config.json";
    if (!folder.empty() && exists(path)) return Json::read(path);
  }
  return std::nullopt;
}

ComponentSource ModelFiles::open(const std::string& component) const {
  if (const auto own = paths_.own.find(component); own != paths_.own.end()) {
    if (!is_checkpoint_file(own->second)) return open_component_folder(own->second);
    return CheckpointFile(own->second).open(component, pipeline_, config_for(component));
  }
  if (!file_ && listed_.contains(component)) {
    ComponentSource source = open_component_folder(paths_.model + "/" + component);
    if (component.starts_with("text_encoder")) source.config = of_class(source.config, listed_.at(component));
    return source;
  }
  if (file_ && file_->has(component)) return file_->open(component, pipeline_, config_for(component));
  const std::string folder = paths_.config + "/" + component;
  if (!paths_.config.empty() && has_weights(folder)) return open_component_folder(folder);
  fail(ErrorCode::input, where_, "a component " + component, "none", how_to_give(component));
}

std::string ModelFiles::how_to_give(const std::string& component) const {
  return (component == "vae" ? "vae: {file: FILE}" : component + ": FILE") + " in the preset" +
         (file_ ? ", or config: FOLDER that has it" : ", or a complete folder");
}

void ModelFiles::require_listed(const std::string& component) const {
  if (!file_ && !listed_.contains(component))
    fail(ErrorCode::input, where_, "a component " + component, "none", "a complete folder");
}

Json ModelFiles::config(const std::string& component) const {
  return open(component).config;
}

std::string ModelFiles::tokenizer(const std::string& name) const {
  require_listed(name);
  if (!file_) return paths_.model + "/" + name;
  if (!paths_.config.empty() && exists(paths_.config + "/" + name)) return paths_.config + "/" + name;
  fail(ErrorCode::usage, "config", "a folder with " + name + "/: the vocabulary that no file of tensors has",
       paths_.config.empty() ? "none" : paths_.config,
       "the tokenizer folders of the diffusers version of " + std::filesystem::path(where_).filename().string());
}

std::optional<std::string> ModelFiles::scheduler_file() const {
  const std::string name = "/scheduler/scheduler_config.json";
  require_listed("scheduler");
  if (!file_) return paths_.model + name;
  if (!paths_.config.empty() && exists(paths_.config + name)) return paths_.config + name;
  return std::nullopt;
}

std::string ModelFiles::scheduler_text() const {
  const auto file = scheduler_file();
  if (!file) return file_->scheduler_text();
  const std::string text = read_file(*file, int64_t{16} << 20);
  if (file_) return text;
  nlohmann::json object = parse_scheduler_object(text, *file);
  object["_class_name"] = listed_.at("scheduler");
  return object.dump();
}

std::string ModelFiles::scheduler_where() const {
  return scheduler_file().value_or(where_ + " scheduler");
}

}  // namespace heddle
