// The `parameters` text as AUTOMATIC1111's web UI writes it, so that its kin can read our pictures.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/preset_file.h"

namespace heddle {
namespace {

std::string sampler_label(const std::string& name) {
  constexpr std::pair<std::string_view, std::string_view> labels[] = {{"ddim", "DDIM"},
                                                                      {"ddpm", "DDPM"},
                                                                      {"lms", "LMS"},
                                                                      {"pndm", "PLMS"},
                                                                      {"euler", "Euler"},
                                                                      {"euler_ancestral", "Euler a"},
                                                                      {"heun", "Heun"},
                                                                      {"dpmpp_2m", "DPM++ 2M"},
                                                                      {"dpmpp_2m_sde", "DPM++ 2M SDE"},
                                                                      {"lcm", "LCM"},
                                                                      {"unipc", "UniPC"},
                                                                      {"rf2", "RF-Solver 2"},
                                                                      {"fireflow", "FireFlow"},
                                                                      {"dpmpp_2s", "DPM++ 2S"},
                                                                      {"dpmpp_3s", "DPM++ 3S"},
                                                                      {"deis", "DEIS"},
                                                                      {"dpm2", "DPM2"},
                                                                      {"dpm2_a", "DPM2 a"},
                                                                      {"tcd", "TCD"}};
  for (const auto& [ours, theirs] : labels) {
    if (name == ours) return std::string(theirs);
  }
  return name;
}

// Values that hold a separator are written as JSON strings.
std::string field(const std::string& value) {
  if (value.find_first_of(",:\n") == value.npos) return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

const std::string& pick(const OneOrMany<std::string>& texts, size_t index) {
  static const std::string none;
  return texts.values.empty() ? none : texts.values[texts.values.size() == 1 ? 0 : index];
}

}  // namespace

std::string a1111_parameters(const Preset& preset, int image) {
  const auto prompt = static_cast<size_t>(image / preset.images);
  std::string text = pick(preset.prompt, prompt);
  const std::string& negative = pick(preset.negative, prompt);
  if (!negative.empty()) text += "\nNegative prompt: " + negative;

  std::string settings;
  const auto add = [&](const char* key, const std::string& value) {
    settings.append(settings.empty() ? "" : ", ").append(key).append(": ").append(field(value));
  };
  const SamplerSettings& sampler = preset.sampler;
  if (sampler.steps) add("Steps", std::to_string(*sampler.steps));
  if (sampler.name) add("Sampler", sampler_label(*sampler.name));
  if (sampler.use_karras_sigmas.value_or(false)) add("Schedule type", "Karras");
  if (sampler.use_exponential_sigmas.value_or(false)) add("Schedule type", "Exponential");
  if (sampler.guidance) add("CFG scale", number_text(*sampler.guidance));
  add("Seed", std::to_string(preset.seed));
  if (preset.size) add("Size", std::to_string((*preset.size)[0]) + "x" + std::to_string((*preset.size)[1]));
  add("Model", std::filesystem::path(preset.model).filename().string());
  if (preset.source && preset.source->strength) add("Denoising strength", number_text(*preset.source->strength));
  if (preset.text.clip_skip) add("Clip skip", std::to_string(*preset.text.clip_skip + 1));  // theirs counts from 1
  if (sampler.eta != 0) add("Eta", number_text(sampler.eta));
  if (preset.rng == Rng::torch_cpu) add("RNG", "CPU");
  add("Version", "heddle");
  return text + "\n" + settings;
}

}  // namespace heddle
