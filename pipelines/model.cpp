// Opens diffusers folders.
#include "pipelines/model.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "io/file.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "pipelines/load_component.h"
#include "pipelines/shelves.h"

namespace heddle {
namespace {

std::string pipeline_class(const Json& index) {
  const auto name = index.get<std::string>("_class_name");
  static const std::set<std::string> known{"StableDiffusionPipeline",          "StableDiffusionImg2ImgPipeline",
                                           "StableDiffusionInpaintPipeline",   "StableDiffusionXLPipeline",
                                           "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline",
                                           "LatentConsistencyModelPipeline",   "LatentConsistencyModelImg2ImgPipeline"};
  if (known.contains(name)) return name;
  fail(ErrorCode::input, index.where() + " _class_name", "a pipeline of Stable Diffusion 1, 2 or XL", name,
       nearest_word(name, known));
}

// [library, class] of a component; false where the index says null.
bool has_component(const Json& index, const std::string& key) {
  if (!index.has(key)) return false;
  const Json entry = index.get<Json>(key);
  return entry.is_array() && entry.size() == 2 && entry[1].node().is_string();
}

}  // namespace

std::string find_model(const std::string& name, const std::string& preset_path) {
  return find_folder(
      name, preset_path,
      {.where = "model", .what = "a diffusers folder with model_index.json", .mark = "model_index.json"});
}

Model::Model(std::string folder, DType compute, const std::vector<LoraSettings>& loras, const std::string& beside)
    : folder_(std::move(folder)), compute_(compute) {
  const Json index = Json::read(folder_ + "/model_index.json");
  const std::string name = pipeline_class(index);
  family_ = name.find("XL") != name.npos ? Family::sdxl : Family::sd;
  if (family_ == Family::sdxl) zeros_for_no_negative_ = index.get_or<bool>("force_zeros_for_empty_prompt", true);
  std::vector<std::string> needed{"tokenizer", "text_encoder", "unet", "vae", "scheduler"};
  if (family_ == Family::sdxl) needed.insert(needed.end(), {"tokenizer_2", "text_encoder_2"});
  for (const std::string& component : needed) {
    if (!has_component(index, component)) {
      fail(ErrorCode::input, index.where(), "a component " + component, "none",
           "a base model: refiners have one text encoder only");
    }
  }
  for (const LoraSettings& l : loras) {
    loras_.push_back(
        {std::make_unique<LoraFile>(find_beside(l.file, beside)), l.weight, l.text_weight.value_or(l.weight)});
    const LoraFile& file = *loras_.back().file;
    const bool second = !file.layers(LoraPart::text_encoder_2).empty() && family_ != Family::sdxl;
    if (second || !file.layers(LoraPart::text_encoder_3).empty())
      fail(ErrorCode::input, file.path(), "a LoRA for this model's text encoders", "layers of one that it has not",
           "a LoRA made for this kind of model");
  }
}

PartLoras Model::loras_of(LoraPart part) const {
  PartLoras out{.part = part};
  for (const OpenLora& l : loras_)
    out.loras.push_back({l.file.get(), part == LoraPart::denoiser ? l.weight : l.text_weight});
  return out;
}

const std::vector<ClipTokenizer>& Model::tokenizers() {
  const std::lock_guard lock(mutex_);
  if (tokenizers_.empty()) {
    tokenizers_.push_back(ClipTokenizer::load(folder_ + "/tokenizer"));
    if (family_ == Family::sdxl) tokenizers_.push_back(ClipTokenizer::load(folder_ + "/tokenizer_2"));
  }
  return tokenizers_;
}

const std::vector<std::unique_ptr<ClipText>>& Model::text_encoders() {
  const std::lock_guard lock(mutex_);
  if (text_encoders_.empty()) {
    text_encoders_.push_back(load_component<ClipText, ClipTextConfig>(folder_ + "/text_encoder", compute_,
                                                                      loras_of(LoraPart::text_encoder)));
    if (family_ == Family::sdxl) {
      text_encoders_.push_back(load_component<ClipText, ClipTextConfig>(folder_ + "/text_encoder_2", compute_,
                                                                        loras_of(LoraPart::text_encoder_2)));
    }
  }
  return text_encoders_;
}

UNet& Model::unet() {
  const std::lock_guard lock(mutex_);
  if (!unet_) unet_ = load_component<UNet, UNetConfig>(folder_ + "/unet", compute_, loras_of(LoraPart::denoiser));
  return *unet_;
}

VaeKl& Model::vae() {
  const std::lock_guard lock(mutex_);
  if (!vae_) vae_ = load_component<VaeKl, VaeConfig>(folder_ + "/vae", compute_);
  return *vae_;
}

int64_t Model::sample_size() {
  const Json config = Json::read(folder_ + "/unet/config.json");
  if (!config.has("sample_size")) return family_ == Family::sdxl ? 128 : 64;
  const Json size = config.get<Json>("sample_size");
  const auto edge = size.is_array() && size.size() > 0 ? size[0].as<int64_t>() : size.as<int64_t>();
  if (edge < 1 || edge > 4096) fail(ErrorCode::input, config.where() + " sample_size", "1..4096", std::to_string(edge));
  return edge;
}

std::string Model::scheduler_text() const {
  return read_file(scheduler_where(), int64_t{16} << 20);
}

}  // namespace heddle
