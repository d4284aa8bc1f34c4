// The fused kernel on one case, against the oracle.
#include "tests/kernels/ops/attention_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/core/tape.h"
#include "kernels/ops/view.h"

namespace heddle::testing {
namespace {

// Root mean square of the difference over that of the wanted values, and the largest difference over the same.
struct Gap {
  double mean = 0, worst = 0;
};

Gap gap(const Array& got, const Array& want) {
  double squares = 0, size = 0, worst = 0;
  for (int64_t i = 0; i < want.shape.count(); ++i) {
    if (want[i] == got[i]) continue;  // also -inf
    squares += (got[i] - want[i]) * (got[i] - want[i]);
    worst = std::max(worst, std::abs(got[i] - want[i]));
    if (std::isnan(got[i])) worst = std::numeric_limits<double>::infinity();
  }
  for (double v : want.values) size += std::isinf(v) ? 0 : v * v;
  const double unit = std::sqrt(std::max(size, 1e-12) / std::max<double>(1, static_cast<double>(want.shape.count())));
  return {std::sqrt(squares / std::max<double>(1, static_cast<double>(want.shape.count()))) / unit, worst / unit};
}

// A view of `x` inside a wider buffer, as a joined projection hands it over, not aligned to anything.
Tensor as_slice_of_joined(const Tensor& x) {
  const Tensor before = Tensor::full({x.dim(0), x.dim(1), 1, x.dim(3)}, 7, x.dtype());
  const Tensor after = Tensor::full({x.dim(0), x.dim(1), 2, x.dim(3)}, 9, x.dtype());
  return slice(concat({before, x, after}, 2), 2, 1, 1 + x.dim(2));
}

}  // namespace

std::vector<Array> inputs_of(const AttentionCase& test, DType dtype) {
  std::vector<Array> out;
  for (const Shape& shape : test.shapes()) {
    Array a{shape, normals(3 + out.size(), shape.count())};
    if (out.empty()) {
      for (double& v : a.values) v *= test.loudness;
    }
    out.push_back(to_array(to_tensor(a, dtype)));
  }
  return out;
}

void expect_close(const AttentionCase& test, const char* what, DType dtype, const Array& got, const Array& want,
                  double tolerance) {
  ASSERT_EQ(got.shape, want.shape) << test.text() << " " << what;
  const Gap g = gap(got, want);
  EXPECT_LE(g.mean, tolerance) << test.text() << " " << what << " " << name_of(dtype);
  EXPECT_LE(g.worst, 16 * tolerance) << test.text() << " " << what << " " << name_of(dtype);
}

void check_attention(const AttentionCase& test, DType dtype) {
  const std::vector<Array> qkv = inputs_of(test, dtype);
  const AttentionArrays want = attention_forward(test, qkv);
  const double tolerance = dtype == DType::f32 ? 2e-6 : 8e-3;
  Tape tape;
  std::vector<Tensor> x;
  for (const Array& a : qkv) x.push_back(tape.watch(to_tensor(a, dtype)));
  const AttentionResult got =
      attention(as_slice_of_joined(x[0]), as_slice_of_joined(x[1]), as_slice_of_joined(x[2]), options_of(test));
  ASSERT_EQ(got.out.dtype(), dtype);
  ASSERT_EQ(got.lse.dtype(), DType::f32);
  expect_close(test, "out", dtype, to_array(got.out), want.out, tolerance);
  expect_close(test, "lse", dtype, to_array(got.lse), want.lse, dtype == DType::f32 ? 2e-6 : 1e-3);

  const Tensor d_out = to_tensor({want.out.shape, normals(8, want.out.shape.count())}, dtype);
  const Tensor d_lse = to_tensor({want.lse.shape, normals(9, want.lse.shape.count())}, DType::f32);
  const std::vector<Tensor> ys{got.out, got.lse}, cs{d_out, d_lse};
  const std::vector<Tensor> back = tape.gradients(ys, cs, x);
  const std::vector<Array> want_back = attention_backward(test, qkv, {to_array(d_out), to_array(d_lse)});
  const char* names[] = {"vjp q", "vjp k", "vjp v"};
  for (int i = 0; i < 3; ++i) {
    expect_close(test, names[i], dtype, to_array(back[i]), want_back[i], dtype == DType::f32 ? 4e-6 : 1.6e-2);
  }
}

void check_attention(const AttentionCase& test) {
  check_attention(test, DType::f32);
  check_attention(test, DType::bf16);
}

}  // namespace heddle::testing
