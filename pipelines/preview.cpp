// Measures and applies the linear map.
#include "pipelines/preview.h"

#include <algorithm>

#include "io/image_tensor.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t probe_edge = 8;  // latent pixels; the colour is that of the middle, away from the padding

std::array<double, 3> colour_of(const VaeKl& vae, const Tensor& latent) {
  AttentionContext context;
  const Tensor picture = vae.decode(vae.from_denoiser(latent), context);  // [1,3,H,W]
  const int64_t edge = picture.dim(2);
  const Tensor middle = slice(slice(picture, 2, edge / 4, edge - edge / 4), 3, edge / 4, edge - edge / 4);
  const std::vector<float> rgb = mean(middle, {0, 2, 3}).to_vector();
  return {rgb[0], rgb[1], rgb[2]};
}

}  // namespace

LatentPreview::LatentPreview(const VaeKl& vae) {
  const int64_t channels = vae.config().latent_channels;
  const auto constant = [&](int64_t channel, float value) {
    std::vector<float> values(static_cast<size_t>(channels * probe_edge * probe_edge), 0.0f);
    const auto begin = values.begin() + channel * probe_edge * probe_edge;
    std::fill(begin, begin + probe_edge * probe_edge, value);
    return Tensor::from(std::span<const float>(values), {1, channels, probe_edge, probe_edge});
  };
  base_ = colour_of(vae, constant(0, 0));
  for (int64_t channel = 0; channel < channels; ++channel) {
    const std::array<double, 3> up = colour_of(vae, constant(channel, 1)), down = colour_of(vae, constant(channel, -1));
    per_channel_.push_back({(up[0] - down[0]) / 2, (up[1] - down[1]) / 2, (up[2] - down[2]) / 2});
  }
}

std::vector<Image> LatentPreview::operator()(const Tensor& latents) const {
  const Tensor last = channels_last(latents);  // [n,h,w,C]
  const std::vector<float> z = last.to_vector();
  const size_t channels = per_channel_.size();
  std::vector<float> rgb;
  for (size_t pixel = 0; pixel < z.size() / channels; ++pixel) {
    for (size_t colour = 0; colour < 3; ++colour) {
      double value = base_[colour];
      for (size_t c = 0; c < channels; ++c) value += per_channel_[c][colour] * z[pixel * channels + c];
      rgb.push_back(static_cast<float>(value / 2 + 0.5));
    }
  }
  return tensor_to_images(Tensor::from(std::span<const float>(rgb), {last.dim(0), last.dim(1), last.dim(2), 3}));
}

}  // namespace heddle
