// Reads, cuts and resizes source pictures.
#include "pipelines/source_picture.h"

#include <algorithm>
#include <cmath>

#include "io/image_tensor.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// The largest centred part of the image with the shape width : height.
Image cut_to_shape(const Image& image, const WidthHeight& size) {
  const double shape = static_cast<double>(size[0]) / size[1];
  const int width = std::clamp(static_cast<int>(std::lround(image.height * shape)), 1, image.width);
  const int height = std::clamp(static_cast<int>(std::lround(image.width / shape)), 1, image.height);
  Image out{.width = width, .height = height, .channels = image.channels, .pixels = {}};
  const int left = (image.width - width) / 2, top = (image.height - height) / 2;
  for (int y = 0; y < height; ++y) {
    const auto row = image.pixels.begin() + (static_cast<ptrdiff_t>(top + y) * image.width + left) * image.channels;
    out.pixels.insert(out.pixels.end(), row, row + static_cast<ptrdiff_t>(width) * image.channels);
  }
  return out;
}

Tensor fitted(const Image& image, const WidthHeight& size) {
  const Image cut = cut_to_shape(image, size);
  const bool fits = cut.width == size[0] && cut.height == size[1];
  return channels_first(image_to_tensor(fits ? cut : resize_lanczos(cut, size[0], size[1])));
}

}  // namespace

WidthHeight run_size(const Preset& preset, const std::string& preset_path, Model& model) {
  const auto factor = static_cast<int>(model.vae().config().factor() * model.traits().patch);
  if (!preset.size && preset.source) {
    const Image picture = read_image(find_beside(preset.source->image, preset_path));
    const WidthHeight size{picture.width / factor * factor, picture.height / factor * factor};
    if (size[0] == 0 || size[1] == 0) {
      fail(ErrorCode::usage, "source.image", "at least " + std::to_string(factor) + " pixels a side",
           std::to_string(picture.width) + "x" + std::to_string(picture.height));
    }
    return size;
  }
  if (!preset.size) {
    WidthHeight size = model.sample_size();
    for (int& edge : size) edge = edge * static_cast<int>(model.vae().config().factor()) / factor * factor;
    return size;
  }
  for (const int edge : *preset.size) {
    if (edge % factor != 0) {
      fail(ErrorCode::usage, "size", "multiples of " + std::to_string(factor), std::to_string(edge),
           std::to_string(std::max(factor, (edge + factor / 2) / factor * factor)));
    }
  }
  return *preset.size;
}

SourcePicture read_source(const SourceImage& source, const std::string& preset_path, const WidthHeight& size) {
  SourcePicture out;
  const Image picture = read_image(find_beside(source.image, preset_path));
  out.picture = add_constant(scale(fitted(picture, size), 2), -1);
  if (source.mask.empty()) return out;
  const Image mask = read_image(find_beside(source.mask, preset_path), Channels::grey);
  if (mask.width != picture.width || mask.height != picture.height) {
    fail(ErrorCode::usage, "source.mask",
         "a mask of the picture's size " + std::to_string(picture.width) + "x" + std::to_string(picture.height),
         std::to_string(mask.width) + "x" + std::to_string(mask.height));
  }
  std::vector<float> values = fitted(mask, size).to_vector();
  for (float& v : values) v = v >= 0.5f ? 1.0f : 0.0f;
  out.mask = Tensor::from(std::span<const float>(values), {1, 1, size[1], size[0]});
  return out;
}

Tensor latent_mask(const Tensor& mask, int64_t height, int64_t width) {
  return channels_first(upsample_nearest(channels_last(mask), height, width));
}

}  // namespace heddle
