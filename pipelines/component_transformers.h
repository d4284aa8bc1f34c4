// The joint text-image transformers as components to be run on named tensors.
#pragma once

#include "io/checkpoint/checkpoint_file.h"
#include "pipelines/component.h"

namespace heddle {

std::unique_ptr<Component> load_sd3_component(const ComponentSource& from, DType compute);
std::unique_ptr<Component> load_flux_component(const ComponentSource& from, DType compute);

}  // namespace heddle
