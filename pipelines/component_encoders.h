// The encoders as components to be run on named tensors.
#pragma once

#include "io/checkpoint/checkpoint_file.h"
#include "pipelines/component.h"

namespace heddle {

std::unique_ptr<Component> load_vae_component(const ComponentSource& from, DType compute);
std::unique_ptr<Component> load_text_component(const ComponentSource& from, DType compute);
std::unique_ptr<Component> load_t5_component(const ComponentSource& from, DType compute);

}  // namespace heddle
