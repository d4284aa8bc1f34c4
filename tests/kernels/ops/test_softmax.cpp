// Softmax over any axis.
#include "kernels/ops/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle {
namespace {

using testing::Array;

Array oracle(const Array& x, int axis) {
  int64_t inner = 1;
  for (int i = axis + 1; i < x.shape.rank(); ++i) inner *= x.shape[i];
  const int64_t length = x.shape[axis];
  Array y = x;
  for (int64_t n = 0; n < x.shape.count() / length; ++n) {
    const int64_t first = n / inner * length * inner + n % inner;
    double total = 0;
    for (int64_t i = 0; i < length; ++i) total += std::exp(x[first + i * inner]);
    for (int64_t i = 0; i < length; ++i) y[first + i * inner] = std::exp(x[first + i * inner]) / total;
  }
  return y;
}

void check(const Shape& shape, int axis) {
  testing::check({.name = "softmax " + shape.text() + " axis " + std::to_string(axis),
                  .inputs = {shape},
                  .op = [axis](const auto& x) { return softmax(x[0], axis); },
                  .oracle = [axis, &shape](const auto& x) { return oracle(x[0], shape.axis(axis)); }});
}

TEST(Softmax, AnyAxis) {
  check({3, 5}, -1);
  check({3, 5}, 0);
  check({2, 4, 3}, 1);
  check({7}, 0);
}

TEST(Softmax, Lengths) {
  testing::on_each_instruction_set([] {
    for (const int64_t length : {1, 2, 7, 8, 15, 16, 17, 31, 33, 77}) {
      check({2, length}, 1);
      check({length, 19}, 0);
    }
  });
}

TEST(Softmax, ViewsAndLargeValues) {
  const Tensor x = Tensor::from(std::vector<float>{1e4f, 1e4f, -1e4f, 1e30f, 0, 0}, {2, 3});
  const std::vector<float> y = softmax(x).to_vector();
  EXPECT_EQ(y, (std::vector<float>{0.5f, 0.5f, 0, 1, 0, 0}));
  EXPECT_EQ(softmax(transpose(x), 0).to_vector(), transpose(softmax(x)).to_vector());
}

// A masked place is exactly 0 and gets no gradient; its neighbours share the whole.
TEST(Softmax, MinusInfinity) {
  const float inf = std::numeric_limits<float>::infinity();
  Tape tape;
  const Tensor x = tape.watch(Tensor::from(std::vector<float>{-inf, 0, 0, -inf}, {1, 4}));
  const Tensor y = softmax(x);
  EXPECT_EQ(y.to_vector(), (std::vector<float>{0, 0.5f, 0.5f, 0}));
  const std::vector<float> back = tape.gradient(y, x, Tensor::from(std::vector<float>{5, 1, 0, 3}, {1, 4})).to_vector();
  EXPECT_EQ(back, (std::vector<float>{0, 0.25f, -0.25f, 0}));
}

TEST(Softmax, RefusesWhatDoesNotFit) {
  EXPECT_THROW(softmax(Tensor::zeros({2, 3}), 2), Error);
  EXPECT_THROW(softmax(Tensor::zeros({2}, DType::i64)), Error);
}

}  // namespace
}  // namespace heddle
