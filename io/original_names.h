// Names of layers in checkpoints as their authors first published them, from the names that diffusers gives them.
#pragma once

#include <optional>
#include <string>

namespace heddle {

// A layer of Stable Diffusion's UNet, "down_blocks.0.attentions.1.proj_in", in the original layout:
// "input_blocks.2.1.proj_in". Nothing for a name that the layout has not. `attends`: whether the layer's block has
// attention, which is what the place of an upsampler depends on.
std::optional<std::string> original_unet_layer(const std::string& layer, bool attends, int layers_per_block = 2);

}  // namespace heddle
