// The scheduler's configuration of a run.
#pragma once

#include "io/preset.h"
#include "pipelines/model.h"
#include "samplers/scheduler_config.h"

namespace heddle {

// The model's scheduler_config.json as diffusers' pipeline for the preset's task takes it, under the preset's sampler
// and keys.
SchedulerConfig scheduler_config(const Model& model, const Preset& preset);

}  // namespace heddle
