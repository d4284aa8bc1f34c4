// The encoders as components to be run on named tensors.
#pragma once

#include "pipelines/component.h"

namespace heddle {

std::unique_ptr<Component> load_vae_component(const std::string& folder, DType compute);
std::unique_ptr<Component> load_text_component(const std::string& folder, DType compute);
std::unique_ptr<Component> load_t5_component(const std::string& folder, DType compute);

}  // namespace heddle
