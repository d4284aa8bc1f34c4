// Elementwise ops: broadcasting, checks and gradients; the loops are in kernels/cpu.
#include "kernels/ops/elementwise.h"

#include <algorithm>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

using cpu::BinaryOp;
using cpu::UnaryOp;

// x seen with `shape`, stride 0 on the stretched axes.
Tensor stretched(const Tensor& x, const Shape& shape) {
  Shape strides = shape;
  const int lead = shape.rank() - x.rank();
  for (int i = 0; i < shape.rank(); ++i) strides[i] = i < lead || x.shape()[i - lead] == 1 ? 0 : x.strides()[i - lead];
  return x.view(shape, strides, 0);
}

Tensor binary(BinaryOp op, const char* name, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype()) {
    fail(ErrorCode::internal, name, "two tensors of one dtype",
         std::string(heddle::name_of(a.dtype())) + " and " + std::string(heddle::name_of(b.dtype())));
  }
  Tensor out = Tensor::empty(broadcast_shape(a.shape(), b.shape(), name), a.dtype());
  if (out.count() > 0) cpu::binary(op, stretched(a, out.shape()), stretched(b, out.shape()), out);
  return out;
}

Tensor unary(UnaryOp op, const Tensor& x, double p = 0, double r = 0) {
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  if (out.count() > 0) cpu::unary(op, x, static_cast<float>(p), static_cast<float>(r), out);
  return out;
}

// 1 where the condition (x within bounds) holds, for gradients that are masks.
template <typename Keep>
Tensor indicator(const Tensor& x, Keep keep) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = keep(v);
  return to(Tensor::from(std::span<const float>(values), x.shape()), x.dtype());
}

}  // namespace

Shape broadcast_shape(const Shape& a, const Shape& b, const char* op) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out;
  for (int i = 0; i < rank; ++i) {
    const int64_t da = i < rank - a.rank() ? 1 : a[i - (rank - a.rank())];
    const int64_t db = i < rank - b.rank() ? 1 : b[i - (rank - b.rank())];
    if (da != db && da != 1 && db != 1) {
      fail(ErrorCode::internal, op, "shapes that broadcast", a.text() + " and " + b.text());
    }
    out.push_back(da == 1 ? db : da);
  }
  return out;
}

Tensor sum_to(const Tensor& cotangent, const Shape& shape) {
  Tensor out = cotangent;
  while (out.rank() > shape.rank()) out = sum(out, {0});
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1 && out.shape()[i] != 1) out = sum(out, {i}, Axes::keep);
  }
  return out;
}

Tensor add(const Tensor& a, const Tensor& b) {
  return record(binary(BinaryOp::add, "add", a, b), {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& c) {
    return std::vector{sum_to(c, sa), sum_to(c, sb)};
  });
}

Tensor subtract(const Tensor& a, const Tensor& b) {
  return record(binary(BinaryOp::subtract, "subtract", a, b), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& c) {
                  return std::vector{sum_to(c, sa), scale(sum_to(c, sb), -1)};
                });
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  return record(binary(BinaryOp::multiply, "multiply", a, b), {a, b},
                [a = a.detach(), b = b.detach()](const Tensor& c) {
                  return std::vector{sum_to(multiply(c, b), a.shape()), sum_to(multiply(c, a), b.shape())};
                });
}

Tensor divide(const Tensor& a, const Tensor& b) {
  return record(binary(BinaryOp::divide, "divide", a, b), {a, b}, [a = a.detach(), b = b.detach()](const Tensor& c) {
    const Tensor over_b = divide(c, b);
    return std::vector{sum_to(over_b, a.shape()), sum_to(scale(multiply(over_b, divide(a, b)), -1), b.shape())};
  });
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  return record(binary(BinaryOp::maximum, "maximum", a, b), {a, b}, [a = a.detach(), b = b.detach()](const Tensor& c) {
    const Tensor first =
        indicator(binary(BinaryOp::subtract, "maximum", a, b), [](float d) { return d >= 0 ? 1.0f : 0.0f; });
    return std::vector{sum_to(multiply(c, first), a.shape()),
                       sum_to(multiply(c, add_constant(scale(first, -1), 1)), b.shape())};
  });
}

Tensor scale(const Tensor& x, double factor) {
  return record(unary(UnaryOp::affine, x, factor, 0), {x},
                [factor](const Tensor& c) { return std::vector{scale(c, factor)}; });
}

Tensor add_constant(const Tensor& x, double constant) {
  return record(unary(UnaryOp::affine, x, 1, constant), {x}, [](const Tensor& c) { return std::vector{c}; });
}

Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y) {
  if (!(x.shape() == y.shape()) || x.dtype() != y.dtype()) {
    fail(ErrorCode::internal, "weighted_sum", "two tensors of one shape and dtype",
         x.shape().text() + " and " + y.shape().text());
  }
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  if (out.count() > 0) cpu::weighted_sum(static_cast<float>(a), x, static_cast<float>(b), y, out);
  return record(out, {x, y}, [a, b](const Tensor& c) { return std::vector{scale(c, a), scale(c, b)}; });
}

Tensor square(const Tensor& x) {
  return record(unary(UnaryOp::square, x), {x},
                [x = x.detach()](const Tensor& c) { return std::vector{scale(multiply(c, x), 2)}; });
}

Tensor square_root(const Tensor& x) {
  const Tensor out = unary(UnaryOp::square_root, x);
  return record(out, {x}, [out](const Tensor& c) { return std::vector{scale(divide(c, out), 0.5)}; });
}

Tensor exponential(const Tensor& x) {
  const Tensor out = unary(UnaryOp::exponential, x);
  return record(out, {x}, [out](const Tensor& c) { return std::vector{multiply(c, out)}; });
}

Tensor logarithm(const Tensor& x) {
  return record(unary(UnaryOp::logarithm, x), {x},
                [x = x.detach()](const Tensor& c) { return std::vector{divide(c, x)}; });
}

Tensor absolute(const Tensor& x) {
  return record(unary(UnaryOp::absolute, x), {x}, [x = x.detach()](const Tensor& c) {
    return std::vector{multiply(c, indicator(x, [](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : 0.0f; }))};
  });
}

Tensor clamp(const Tensor& x, double low, double high) {
  return record(unary(UnaryOp::clamp, x, low, high), {x}, [x = x.detach(), low, high](const Tensor& c) {
    return std::vector{multiply(c, indicator(x, [=](float v) { return v >= low && v <= high ? 1.0f : 0.0f; }))};
  });
}

}  // namespace heddle
