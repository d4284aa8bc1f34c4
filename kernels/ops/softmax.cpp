// Softmax: checks, the tape and dispatch.
#include "kernels/ops/softmax.h"

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/softmax.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// Axes before, the axis, axes after: [outer,length,inner] of a dense tensor.
Tensor around(const Tensor& x, int axis) {
  int64_t inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x.dim(i);
  const Shape shape{x.count() / (inner * x.dim(axis)), x.dim(axis), inner};
  return x.view(shape, row_major_strides(shape), 0);
}

Tensor shaped_as(const Tensor& y, const Tensor& x) {
  return y.view(x.shape(), row_major_strides(x.shape()), 0);
}

}  // namespace

Tensor softmax(const Tensor& given, int axis) {
  if (given.rank() == 0 || (given.dtype() != DType::f32 && given.dtype() != DType::bf16)) {
    fail(ErrorCode::internal, "softmax", "f32 or bf16 of rank 1 or more",
         std::string(name_of(given.dtype())) + " " + given.shape().text());
  }
  const int along = given.shape().axis(axis);
  if (given.count() == 0) return given;
  const Tensor x = contiguous(given);
  const Tensor y = cpu::softmax_forward(around(x.detach(), along));
  return record(shaped_as(y, x), {x}, [y, along](const Tensor& d_y) -> std::vector<Tensor> {
    return {shaped_as(cpu::softmax_backward(y, around(contiguous(to(d_y, y.dtype())), along)), d_y)};
  });
}

}  // namespace heddle
