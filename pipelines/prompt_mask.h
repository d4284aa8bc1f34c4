// The mask that two prompts make: white where a network answers them differently (DiffEdit, Couairon et al. 2022, arXiv
// 2210.11427, section 3.2).
#pragma once

#include "io/preset.h"
#include "kernels/core/tensor.h"

namespace heddle {

// Of answers to the same noised latents under both prompts, f32 [maps,C,h,w] each: [1,1,h,w] of 0 and 1. The difference
// |target - source|, averaged over maps and channels, counts where it is above half of thresholding_ratio times its
// mean over the picture, as in diffusers' StableDiffusionDiffEditPipeline; then white grows by `grow` cells to all
// sides.
Tensor prompt_mask(const Tensor& source, const Tensor& target, const PromptMaskSettings& settings);

}  // namespace heddle
