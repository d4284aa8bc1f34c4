// Batched products of activations against a double-precision product, transposed and shared operands, gradients of both.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {
namespace {

Array product(const Array& a, const Array& b) {
  const int rank = a.shape.rank();
  const int64_t m = a.shape[rank - 2], k = a.shape[rank - 1], n = b.shape.back();
  Shape shape = a.shape;
  shape[rank - 1] = n;
  Array c{shape, std::vector<double>(static_cast<size_t>(shape.count()))};
  const int64_t batch = shape.count() / (m * n), b_step = b.shape.rank() == rank ? k * n : 0;
  for (int64_t i = 0; i < batch; ++i) {
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t s = 0; s < n; ++s) {
        double total = 0;
        for (int64_t t = 0; t < k; ++t) total += a[(i * m + r) * k + t] * b[i * b_step + t * n + s];
        c[(i * m + r) * n + s] = total;
      }
    }
  }
  return c;
}

Array turned(const Array& x) {
  const int rank = x.shape.rank();
  Array y = x;
  std::swap(y.shape[rank - 1], y.shape[rank - 2]);
  const int64_t m = x.shape[rank - 2], n = x.shape[rank - 1];
  for (int64_t i = 0; i < x.shape.count(); ++i) {
    const int64_t batch = i / (m * n), r = i / n % m, s = i % n;
    y[batch * m * n + s * m + r] = x[i];
  }
  return y;
}

void check_product(const Shape& a, const Shape& b) {
  const double magnitude = std::sqrt(static_cast<double>(a.back()));
  OpCase plain{"matmul " + a.text() + b.text(), {a, b}, [](const auto& t) { return matmul(t[0], t[1]); },
               [](const auto& t) { return product(t[0], t[1]); }};
  plain.magnitude = magnitude;
  check(plain);
  OpCase right{"matmul of a transposed " + a.text() + b.text(), {a, turned({b, std::vector<double>(b.count())}).shape},
               [](const auto& t) { return matmul(t[0], transpose(t[1])); },
               [](const auto& t) { return product(t[0], turned(t[1])); }};
  right.magnitude = magnitude;
  check(right);
  OpCase left{"transposed matmul " + a.text() + b.text(), {turned({a, std::vector<double>(a.count())}).shape, b},
              [](const auto& t) { return matmul(transpose(t[0]), t[1]); },
              [](const auto& t) { return product(turned(t[0]), t[1]); }};
  left.magnitude = magnitude;
  check(left);
}

TEST(Matmul, plain_transposed_and_batched) {
  check_product({3, 4}, {4, 5});
  check_product({1, 7}, {7, 1});
  check_product({2, 3, 5, 4}, {2, 3, 4, 6});
  check_product({3, 17, 9}, {3, 9, 18});
}

TEST(Matmul, one_matrix_for_the_whole_batch) { check_product({2, 3, 5, 4}, {4, 6}); }

TEST(Matmul, views_with_gaps) {
  const Tensor joined = to_tensor({{2, 6, 4, 12}, normals(1, 2 * 6 * 4 * 12)}, DType::f32);  // [B,N,H,D]
  const Tensor q = permute(slice(joined, 3, 0, 8), {0, 2, 1, 3}), k = permute(slice(joined, 3, 4, 12), {0, 2, 3, 1});
  const std::vector<float> got = matmul(q, k).to_vector(), want = matmul(contiguous(q), contiguous(k)).to_vector();
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
}

TEST(Matmul, empty_and_wrong_inputs) {
  EXPECT_EQ(matmul(Tensor::zeros({2, 0}), Tensor::zeros({0, 3})).to_vector(), std::vector<float>(6, 0.0f));
  EXPECT_EQ(matmul(Tensor::zeros({0, 4}), Tensor::zeros({4, 3})).shape(), (Shape{0, 3}));
  EXPECT_THROW(matmul(Tensor::zeros({2, 3}), Tensor::zeros({2, 3})), Error);
  EXPECT_THROW(matmul(Tensor::zeros({2, 2, 3}), Tensor::zeros({3, 3, 4})), Error);
  EXPECT_THROW(matmul(Tensor::zeros({2, 3}), Tensor::zeros({3, 4}, DType::bf16)), Error);
}

}  // namespace
}  // namespace heddle::testing
