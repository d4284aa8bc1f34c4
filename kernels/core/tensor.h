// Tensor: a value handle on (buffer, shape, strides, dtype, device, place on a tape). Nothing public changes its
// elements: ops are free functions that return new tensors. Pictures and feature maps are channels-last: [N,H,W,C].
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "kernels/core/shape.h"

namespace heddle {

struct TapeState;

class Tensor {
 public:
  Tensor() = default;  // undefined: defined() is false

  static Tensor empty(const Shape& shape, DType dtype = DType::f32);  // elements not initialised; for op kernels
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32);
  static Tensor full(const Shape& shape, float value, DType dtype = DType::f32);
  static Tensor from(std::span<const float> values, const Shape& shape);
  static Tensor from(std::span<const int64_t> values, const Shape& shape);
  // Memory of somebody else (a mapped file), row-major, kept alive by `owner`.
  static Tensor borrow(const void* data, const Shape& shape, DType dtype, std::shared_ptr<const void> owner);

  bool defined() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }  // in elements
  int rank() const { return shape_.rank(); }
  int64_t dim(int axis) const { return shape_[shape_.axis(axis)]; }
  int64_t stride(int axis) const { return strides_[shape_.axis(axis)]; }
  int64_t count() const { return shape_.count(); }
  DType dtype() const { return dtype_; }
  Device device() const { return Device::cpu; }
  bool is_contiguous() const;  // row-major without gaps

  // Elements; T must be the dtype's C++ type (float, BFloat16, Float16, int64_t), else Error(internal).
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(typed(DTypeOf<T>::value));
  }
  const std::byte* bytes() const { return data_; }
  // For the kernel that fills a tensor it has just made, before anybody else sees it.
  template <typename T>
  T* fill_data() {
    return static_cast<T*>(const_cast<void*>(typed(DTypeOf<T>::value)));
  }
  std::byte* fill_bytes() { return const_cast<std::byte*>(data_); }
  // True when no other handle shares the buffer: an op that got it by rvalue may write over it.
  bool is_sole_owner() const { return owner_.use_count() == 1 && !borrowed_; }

  // Same buffer, other view; not recorded on a tape (ops/view.h has the differentiable ones).
  Tensor view(const Shape& shape, const Shape& strides, int64_t offset_elements) const;

  std::vector<float> to_vector() const;  // any float dtype, row-major
  std::vector<int64_t> to_ids() const;   // i64, row-major
  float item() const;                    // the only element

  // The place on a tape, set by record(); see tape.h.
  bool is_tracked() const;
  Tensor detach() const;  // same elements, on no tape
  std::weak_ptr<TapeState> tape;
  int node = -1;
  int output = 0;

 private:
  const void* typed(DType dtype) const;

  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  Shape shape_;
  Shape strides_;
  DType dtype_ = DType::f32;
  bool borrowed_ = false;
};

Shape row_major_strides(const Shape& shape);

}  // namespace heddle
