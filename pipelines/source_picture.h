// The picture that image-to-image and inpainting begin from, as tensors at the run's size.
#pragma once

#include "io/preset.h"
#include "kernels/core/tensor.h"
#include "pipelines/model.h"

namespace heddle {

struct SourcePicture {
  Tensor picture;  // [1,3,H,W] in -1..1
  Tensor mask;     // [1,1,H,W], 1 where it is painted anew; undefined without one
};

// The size of a run: the preset's, else the picture's own, else the checkpoint's; whole multiples of the autoencoder's
// factor and the denoiser's patch (a picture's own size is rounded down to them). Error(usage) where the preset's is
// none.
WidthHeight run_size(const Preset& preset, const std::string& preset_path, Model& model);

// Where the preset gives a size of another shape than the picture's, the picture is cut at its centre to that shape,
// then resized (Lanczos, as diffusers); the mask is cut and resized with it and is 1 from half white on.
SourcePicture read_source(const SourceImage& source, const std::string& preset_path, const WidthHeight& size);

// mask [1,1,H,W] on the grid of latents: the nearest pixel, as diffusers takes it.
Tensor latent_mask(const Tensor& mask, int64_t height, int64_t width);

}  // namespace heddle
