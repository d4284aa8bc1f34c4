// Tensor's storage and shape arithmetic.
#include "kernels/core/tensor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/core/tape.h"

namespace heddle {

Shape::Shape(std::span<const int64_t> dims) {
  for (const int64_t dim : dims) push_back(dim);
}

void Shape::push_back(int64_t dim) {
  if (rank_ == max_rank || dim < 0) {
    fail(ErrorCode::internal, "shape", "at most 8 extents, none negative", text() + " with " + std::to_string(dim));
  }
  dims_[rank_++] = dim;
}

int64_t Shape::count() const {
  int64_t total = 1;
  for (const int64_t dim : *this) total *= dim;
  return total;
}

int Shape::axis(int axis) const {
  const int wrapped = axis < 0 ? axis + rank_ : axis;
  if (wrapped < 0 || wrapped >= rank_) {
    fail(ErrorCode::internal, "shape", "an axis of " + text(), std::to_string(axis));
  }
  return wrapped;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::string Shape::text() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(dims_[i]);
  return out + "]";
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor out;
  auto buffer = allocate(shape.count() * size_of(dtype));
  out.data_ = buffer.get();
  out.owner_ = std::move(buffer);
  out.shape_ = shape;
  out.strides_ = row_major_strides(shape);
  out.dtype_ = dtype;
  return out;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor out = empty(shape, dtype);
  std::memset(out.fill_bytes(), 0, static_cast<size_t>(out.count() * size_of(dtype)));
  return out;
}

Tensor Tensor::full(const Shape& shape, float value, DType dtype) {
  Tensor out = empty(shape, dtype);
  switch (dtype) {
    case DType::f32:
      std::fill_n(out.fill_data<float>(), out.count(), value);
      break;
    case DType::bf16:
      std::fill_n(out.fill_data<BFloat16>(), out.count(), BFloat16(value));
      break;
    case DType::f16:
      std::fill_n(out.fill_data<Float16>(), out.count(), Float16(value));
      break;
    case DType::i64:
      std::fill_n(out.fill_data<int64_t>(), out.count(), static_cast<int64_t>(value));
      break;
  }
  return out;
}

namespace {

template <typename T>
Tensor copy_of(std::span<const T> values, const Shape& shape) {
  if (static_cast<int64_t>(values.size()) != shape.count()) {
    fail(ErrorCode::internal, "tensor", std::to_string(shape.count()) + " values for " + shape.text(),
         std::to_string(values.size()));
  }
  Tensor out = Tensor::empty(shape, DTypeOf<T>::value);
  std::copy(values.begin(), values.end(), out.fill_data<T>());
  return out;
}

// Calls f(offset in elements) for each element in row-major order.
template <typename F>
void for_each_offset(const Tensor& t, F f) {
  const Shape& shape = t.shape();
  const int64_t total = t.count();
  Shape index = shape;
  for (int i = 0; i < shape.rank(); ++i) index[i] = 0;
  int64_t offset = 0;
  for (int64_t n = 0; n < total; ++n) {
    f(offset);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      offset += t.strides()[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= t.strides()[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

Tensor Tensor::from(std::span<const float> values, const Shape& shape) {
  return copy_of(values, shape);
}
Tensor Tensor::from(std::span<const int64_t> values, const Shape& shape) {
  return copy_of(values, shape);
}

Tensor Tensor::borrow(const void* data, const Shape& shape, DType dtype, std::shared_ptr<const void> owner) {
  Tensor out;
  out.data_ = static_cast<const std::byte*>(data);
  out.owner_ = std::move(owner);
  out.shape_ = shape;
  out.strides_ = row_major_strides(shape);
  out.dtype_ = dtype;
  out.borrowed_ = true;
  return out;
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= shape_[i];
  }
  return true;
}

const void* Tensor::typed(DType dtype) const {
  if (dtype != dtype_ || !defined()) {
    fail(ErrorCode::internal, "tensor", std::string(name_of(dtype)) + " elements",
         defined() ? std::string(name_of(dtype_)) : "an undefined tensor");
  }
  return data_;
}

Tensor Tensor::view(const Shape& shape, const Shape& strides, int64_t offset_elements) const {
  Tensor out = detach();
  out.shape_ = shape;
  out.strides_ = strides;
  out.data_ += offset_elements * size_of(dtype_);
  return out;
}

std::vector<float> Tensor::to_vector() const {
  std::vector<float> out;
  out.reserve(static_cast<size_t>(count()));
  const auto read = [&]<typename T>(const T* p) {
    for_each_offset(*this, [&](int64_t o) { out.push_back(static_cast<float>(p[o])); });
  };
  switch (dtype_) {
    case DType::f32:
      read(data<float>());
      break;
    case DType::bf16:
      read(data<BFloat16>());
      break;
    case DType::f16:
      read(data<Float16>());
      break;
    case DType::i64:
      read(data<int64_t>());
      break;
  }
  return out;
}

std::vector<int64_t> Tensor::to_ids() const {
  std::vector<int64_t> out;
  const int64_t* p = data<int64_t>();
  for_each_offset(*this, [&](int64_t o) { out.push_back(p[o]); });
  return out;
}

float Tensor::item() const {
  if (count() != 1) fail(ErrorCode::internal, "tensor.item", "one element", shape_.text());
  return to_vector()[0];
}

bool Tensor::is_tracked() const {
  return node >= 0 && !tape.expired();
}

Tensor Tensor::detach() const {
  Tensor out = *this;
  out.tape.reset();
  out.node = -1;
  out.output = 0;
  return out;
}

}  // namespace heddle
