// A rough picture of latents in a moment's time: a linear map from latent channels to red, green and blue, measured
// once for each autoencoder by decoding constant latents.
#pragma once

#include <array>
#include <vector>

#include "encoders/vae_kl.h"
#include "io/image.h"

namespace heddle {

class LatentPreview {
 public:
  explicit LatentPreview(const VaeKl& vae);
  // latents [n,C,h,w] in the denoiser's scale -> n pictures of h x w pixels.
  std::vector<Image> operator()(const Tensor& latents) const;

 private:
  std::array<double, 3> base_{};                    // colour of latents of zero
  std::vector<std::array<double, 3>> per_channel_;  // change of colour per unit of a channel
};

}  // namespace heddle
