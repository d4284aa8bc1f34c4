// The picture of an edit as noise: encoded, inverted with its own prompt, or read from a file.
#pragma once

#include <vector>

#include "io/preset.h"
#include "pipelines/guided_network.h"
#include "samplers/inversion.h"

namespace heddle {

// States of the source picture [1,C,h,w] before each evaluation, and the clean one last. `parts` is the source's own
// run: one member, its prompt and guidance.
std::vector<Tensor> invert_picture(GuidedNetwork::Parts parts, const Tensor& clean, const InversionSettings& settings,
                                   const std::function<void(int done, int steps)>& on_step);

// As `inversion.save` keeps them: `latents` (the noise) and `trajectory` [steps+1,C,h,w], the noise first.
void save_inversion(const std::string& path, const std::vector<Tensor>& states);
// Error(input) where the file does not hold a trajectory of `steps` steps and this shape.
std::vector<Tensor> load_inversion(const std::string& path, int64_t steps, const Shape& shape);

}  // namespace heddle
