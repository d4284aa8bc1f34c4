// Bytes to numbers and back.
#include "io/image_tensor.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace heddle {

Tensor image_to_tensor(const Image& image) {
  Tensor out = Tensor::empty({1, image.height, image.width, image.channels});
  std::ranges::transform(image.pixels, out.fill_data<float>(),
                         [](uint8_t value) { return static_cast<float>(value) / 255.0f; });
  return out;
}

std::vector<Image> tensor_to_images(const Tensor& tensor) {
  if (tensor.rank() != 4 || (tensor.dim(3) != 1 && tensor.dim(3) != 3 && tensor.dim(3) != 4)) {
    fail(ErrorCode::internal, "tensor_to_images", "[n,H,W,C] with C 1, 3 or 4", tensor.shape().text());
  }
  const std::vector<float> values = tensor.to_vector();
  const auto size = static_cast<size_t>(tensor.dim(1) * tensor.dim(2) * tensor.dim(3));
  std::vector<Image> out;
  for (size_t n = 0; n < static_cast<size_t>(tensor.dim(0)); ++n) {
    Image& image = out.emplace_back();
    image.height = static_cast<int>(tensor.dim(1));
    image.width = static_cast<int>(tensor.dim(2));
    image.channels = static_cast<int>(tensor.dim(3));
    image.pixels.resize(size);
    std::transform(values.begin() + static_cast<int64_t>(n * size),
                   values.begin() + static_cast<int64_t>((n + 1) * size), image.pixels.begin(),
                   // Not a number has no colour; it becomes black rather than undefined.
                   [](float v) {
                     return std::isnan(v) ? uint8_t{0}
                                          : static_cast<uint8_t>(std::nearbyint(std::clamp(v, 0.0f, 1.0f) * 255.0f));
                   });
  }
  return out;
}

}  // namespace heddle
