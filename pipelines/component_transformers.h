// The joint text-image transformers as components to be run on named tensors.
#pragma once

#include "pipelines/component.h"

namespace heddle {

std::unique_ptr<Component> load_sd3_component(const std::string& folder, DType compute);
std::unique_ptr<Component> load_flux_component(const std::string& folder, DType compute);

}  // namespace heddle
