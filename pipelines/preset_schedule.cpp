// What diffusers' pipelines mend in outdated files, and what the preset says over it.
#include "pipelines/preset_schedule.h"

#include <nlohmann/json.hpp>

#include "samplers/scheduler_keys.h"

namespace heddle {
namespace {

// Early files of Stable Diffusion 1 and 2 lack keys whose defaults suit neither, or state those defaults. A file's own
// class is mended whether or not it states a key; another sampler is made of what is stated, by X.from_config.
std::string schedule_text(const Model& model, const Preset& preset) {
  const std::string text = model.scheduler_text();
  if (model.family() != Family::sd || model.pipeline().starts_with("LatentConsistency")) return text;
  nlohmann::json file = parse_scheduler_object(text, model.scheduler_where());
  const auto mend = [&](const char* key, const nlohmann::json& value) {
    if (!preset.sampler.name || file.contains(key)) file[key] = value;
  };
  mend("steps_offset", 1);
  if (preset.task == Task::inpaint)
    mend("skip_prk_steps", true);
  else
    mend("clip_sample", false);
  return file.dump();
}

}  // namespace

SchedulerConfig scheduler_config(const Model& model, const Preset& preset) {
  const SamplerSettings& sampler = preset.sampler;
  nlohmann::json overrides = scheduler_overrides(sampler).node();
  if (sampler.eta != 0) overrides["eta"] = sampler.eta;
  return parse_scheduler_config(schedule_text(model, preset), model.scheduler_where(), overrides,
                                sampler.name.value_or(""));
}

}  // namespace heddle
