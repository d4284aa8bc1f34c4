// Between pictures of bytes and the tensors of pipelines; Pillow's Lanczos resizing.
#pragma once

#include "io/image.h"
#include "kernels/core/tensor.h"

namespace heddle {

Tensor image_to_tensor(const Image& image);  // f32 [1,H,W,C] in 0..1

// f32 [n,H,W,C] in 0..1 (values outside are clipped), rounded half to even as numpy does; C is 1, 3 or 4.
std::vector<Image> tensor_to_images(const Tensor& tensor);

// As Pillow's resize with LANCZOS, bit for bit for grey and RGB: two passes of fixed-point sums, across then down.
Image resize_lanczos(const Image& image, int width, int height);

}  // namespace heddle
