// PEFT's configuration of adapters.
#include "io/lora_configuration.h"

#include <cmath>
#include <filesystem>

#include "kernels/core/error.h"

namespace heddle {
namespace {

bool matches(const std::string& layer, const std::string& key) {
  if (key.starts_with("^")) return layer == key.substr(1);
  return layer == key || layer.ends_with("." + key);
}

// The number of `pattern` for this layer, where it has one.
std::optional<double> of_pattern(const Json& json, const std::string& pattern, const std::string& layer) {
  std::optional<double> out;
  if (!json.has(pattern)) return out;
  const auto numbers = json.get<Json>(pattern);
  for (const std::string& key : numbers.keys())
    if (matches(layer, key)) out = numbers.get<double>(key);
  return out;
}

}  // namespace

LoraConfiguration::LoraConfiguration(const SafetensorsFile& file) {
  const std::filesystem::path path = file.path();
  const auto found = file.metadata().find("lora_adapter_metadata");
  if (found != file.metadata().end()) {
    json_ = Json::parse(found->second, file.path() + " lora_adapter_metadata");
    return;
  }
  const std::filesystem::path beside = path.parent_path() / "adapter_config.json";
  if (path.filename() != "adapter_model.safetensors" || !std::filesystem::exists(beside)) return;
  json_ = Json::read(beside.string());
  own_file_ = true;
}

double LoraConfiguration::scaling(LoraPart part, const std::string& name, const LoraLayer& layer) const {
  const std::optional<int64_t> rank = layer.rank();
  if (layer.alpha) return rank ? *layer.alpha / static_cast<double>(*rank) : 1;
  if (!json_) return 1;
  const std::string prefix = prefix_of(part);
  const std::string key = prefix + (json_->has(prefix + "lora_alpha") ? "lora_alpha" : "alpha");
  if (!json_->has(key)) return 1;
  const double alpha = of_pattern(*json_, prefix + "alpha_pattern", name).value_or(json_->get<double>(key));
  double r = 0;
  if (rank)
    r = static_cast<double>(*rank);
  else
    r = of_pattern(*json_, prefix + "rank_pattern", name).value_or(json_->get<double>(prefix + "r"));
  if (!(r > 0)) fail(ErrorCode::input, json_->where() + " " + prefix + "r", "a rank above 0", std::to_string(r));
  return alpha / (json_->get_or<bool>(prefix + "use_rslora", false) ? std::sqrt(r) : r);
}

// Denoisers of other kinds than the UNet are called transformer.
std::string LoraConfiguration::prefix_of(LoraPart part) const {
  if (own_file_) return "";
  if (part == LoraPart::text_encoder) return "text_encoder.";
  if (part == LoraPart::text_encoder_2) return "text_encoder_2.";
  if (part == LoraPart::text_encoder_3) return "text_encoder_3.";
  return json_->has("unet.lora_alpha") ? "unet." : "transformer.";
}

}  // namespace heddle
