// Matrices of eight bits that are stored beside a scale, as ComfyUI writes them: X.weight and X.scale_weight, or
// X.weight_scale. The rest of the room sees their product and no scales.
#pragma once

#include <memory>

#include "io/tensor_file.h"

namespace heddle {

// The file itself where it has no scales. Error(input) for scales of parts of a matrix.
std::shared_ptr<const TensorFile> without_scales(std::shared_ptr<const TensorFile> file);

}  // namespace heddle
