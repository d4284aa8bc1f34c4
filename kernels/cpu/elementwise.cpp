// Elementwise loops.
#include "kernels/cpu/elementwise.h"

#include <cmath>
#include <cstring>

#include "kernels/core/error.h"
#include "kernels/cpu/strided.h"

namespace heddle::cpu {
namespace {

// Calls body with a value of the element type of `dtype`.
template <typename Body>
void for_float_type(DType dtype, const Body& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::bf16) return body(BFloat16{});
  fail(ErrorCode::internal, "elementwise", "f32 or bf16", name_of(dtype));
}

template <typename T, typename F>
void binary_loop(const Tensor& a, const Tensor& b, Tensor& out, F f) {
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* po = out.fill_data<T>();
  StridedWalk<3>({&out, &a, &b}).run([&](const auto& at, int64_t n, const auto& step) {
    T* o = po + at[0];
    const T* x = pa + at[1];
    const T* y = pb + at[2];
    if (step[1] == 1 && step[2] == 1) {
      for (int64_t i = 0; i < n; ++i) o[i] = T(f(static_cast<float>(x[i]), static_cast<float>(y[i])));
    } else if (step[1] == 1 && step[2] == 0) {
      const float constant = static_cast<float>(y[0]);
      for (int64_t i = 0; i < n; ++i) o[i] = T(f(static_cast<float>(x[i]), constant));
    } else {
      for (int64_t i = 0; i < n; ++i) {
        o[i * step[0]] = T(f(static_cast<float>(x[i * step[1]]), static_cast<float>(y[i * step[2]])));
      }
    }
  });
}

template <typename T, typename F>
void unary_loop(const Tensor& x, Tensor& out, F f) {
  const T* px = x.data<T>();
  T* po = out.fill_data<T>();
  StridedWalk<2>({&out, &x}).run([&](const auto& at, int64_t n, const auto& step) {
    T* o = po + at[0];
    const T* in = px + at[1];
    if (step[1] == 1) {
      for (int64_t i = 0; i < n; ++i) o[i] = T(f(static_cast<float>(in[i])));
    } else {
      for (int64_t i = 0; i < n; ++i) o[i * step[0]] = T(f(static_cast<float>(in[i * step[1]])));
    }
  });
}

template <typename From, typename To>
void cast_loop(const Tensor& from, Tensor& to) {
  const From* source = from.data<From>();
  To* target = to.fill_data<To>();
  const int64_t n = from.count();
#pragma omp parallel for schedule(static) if (n > 32768)
  for (int64_t i = 0; i < n; ++i) target[i] = To(static_cast<float>(source[i]));
}

template <typename From>
void cast_from(const Tensor& from, Tensor& to) {
  switch (to.dtype()) {
    case DType::f32:
      return cast_loop<From, float>(from, to);
    case DType::bf16:
      return cast_loop<From, BFloat16>(from, to);
    case DType::f16:
      return cast_loop<From, Float16>(from, to);
    case DType::i64:
      fail(ErrorCode::internal, "to", "a float dtype", "i64");
  }
}

template <typename Word>
void copy_words(const Tensor& from, Tensor& to) {
  const auto* source = reinterpret_cast<const Word*>(from.bytes());
  auto* target = reinterpret_cast<Word*>(to.fill_bytes());
  StridedWalk<2>({&to, &from}).run([&](const auto& at, int64_t n, const auto& step) {
    if (step[0] == 1 && step[1] == 1) {
      std::memcpy(target + at[0], source + at[1], static_cast<size_t>(n) * sizeof(Word));
    } else {
      for (int64_t i = 0; i < n; ++i) target[at[0] + i * step[0]] = source[at[1] + i * step[1]];
    }
  });
}

}  // namespace

void binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& out) {
  for_float_type(out.dtype(), [&]<typename T>(T) {
    switch (op) {
      case BinaryOp::add:
        return binary_loop<T>(a, b, out, [](float x, float y) { return x + y; });
      case BinaryOp::subtract:
        return binary_loop<T>(a, b, out, [](float x, float y) { return x - y; });
      case BinaryOp::multiply:
        return binary_loop<T>(a, b, out, [](float x, float y) { return x * y; });
      case BinaryOp::divide:
        return binary_loop<T>(a, b, out, [](float x, float y) { return x / y; });
      case BinaryOp::maximum:
        return binary_loop<T>(a, b, out, [](float x, float y) { return x >= y ? x : y; });
    }
  });
}

void unary(UnaryOp op, const Tensor& x, float p, float r, Tensor& out) {
  for_float_type(out.dtype(), [&]<typename T>(T) {
    switch (op) {
      case UnaryOp::affine:
        return unary_loop<T>(x, out, [=](float v) { return v * p + r; });
      case UnaryOp::square:
        return unary_loop<T>(x, out, [](float v) { return v * v; });
      case UnaryOp::square_root:
        return unary_loop<T>(x, out, [](float v) { return std::sqrt(v); });
      case UnaryOp::exponential:
        return unary_loop<T>(x, out, [](float v) { return std::exp(v); });
      case UnaryOp::logarithm:
        return unary_loop<T>(x, out, [](float v) { return std::log(v); });
      case UnaryOp::absolute:
        return unary_loop<T>(x, out, [](float v) { return std::fabs(v); });
      case UnaryOp::clamp:
        return unary_loop<T>(x, out, [=](float v) { return v < p ? p : v > r ? r : v; });
    }
  });
}

void weighted_sum(float a, const Tensor& x, float b, const Tensor& y, Tensor& out) {
  for_float_type(out.dtype(),
                 [&]<typename T>(T) { binary_loop<T>(x, y, out, [=](float u, float v) { return a * u + b * v; }); });
}

void copy(const Tensor& from, Tensor& to) {
  switch (size_of(from.dtype())) {
    case 2:
      return copy_words<uint16_t>(from, to);
    case 4:
      return copy_words<uint32_t>(from, to);
    default:
      return copy_words<uint64_t>(from, to);
  }
}

void cast(const Tensor& from, Tensor& to) {
  switch (from.dtype()) {
    case DType::f32:
      return cast_from<float>(from, to);
    case DType::bf16:
      return cast_from<BFloat16>(from, to);
    case DType::f16:
      return cast_from<Float16>(from, to);
    case DType::i64: {
      const std::vector<int64_t> ids = from.to_ids();
      const std::vector<float> values(ids.begin(), ids.end());
      return cast(Tensor::from(std::span<const float>(values), from.shape()), to);
    }
  }
}

}  // namespace heddle::cpu
