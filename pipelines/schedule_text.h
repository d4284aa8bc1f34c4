// The schedule of a run, before the preset's own keys.
#pragma once

#include <string>

#include "io/preset.h"
#include "pipelines/model.h"

namespace heddle {

// The model's scheduler_config.json as diffusers' pipeline for this task takes it.
std::string schedule_text(const Model& model, const Preset& preset);

}  // namespace heddle
