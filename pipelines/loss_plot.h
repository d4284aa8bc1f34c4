// A guided run's losses as a drawing.
#pragma once

#include <string>
#include <vector>

#include "pipelines/guide.h"

namespace heddle {

// SVG: loss over steps, one line for each method and picture; repeated updates of a step stand side by side within it.
// The legend says how far the updates moved the latents.
std::string loss_plot(const std::vector<GuideRecord>& losses);

}  // namespace heddle
