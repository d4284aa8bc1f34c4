// Rotary positions against the complex product in double, on every instruction set; norms do not change; views.
#include "kernels/ops/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle {
namespace {

using testing::Array;

std::vector<double> some_angles(int64_t tokens, int64_t pairs) {
  std::vector<double> angles = testing::normals(3, tokens * pairs);
  for (double& a : angles) a *= 20;
  return angles;
}

Array turned(const Array& x, const std::vector<double>& angles) {
  const int64_t tokens = x.shape[1], heads = x.shape[2], pairs = x.shape[3] / 2;
  Array y = x;
  for (int64_t i = 0; i < x.shape.count() / 2; ++i) {
    const int64_t token = i / pairs / heads % tokens;
    const std::complex<double> z =
        std::complex(x[2 * i], x[2 * i + 1]) * std::polar(1.0, angles[static_cast<size_t>(token * pairs + i % pairs)]);
    y[2 * i] = z.real();
    y[2 * i + 1] = z.imag();
  }
  return y;
}

TEST(Rotary, TurnsPairsByTheirAngles) {
  testing::on_each_instruction_set([] {
    for (const Shape& shape : {Shape{2, 3, 2, 8}, Shape{1, 5, 1, 2}, Shape{2, 2, 3, 22}, Shape{1, 4, 2, 64}}) {
      const std::vector<double> angles = some_angles(shape[1], shape[3] / 2);
      testing::check({.name = "rotate " + shape.text(),
                      .inputs = {shape},
                      .op = [&](const auto& x) { return rotate(x[0], rotary_tables(angles, shape[1])); },
                      .oracle = [&](const auto& x) { return turned(x[0], angles); },
                      .magnitude = 2});
    }
  });
}

TEST(Rotary, ReadsOneThirdOfAJoinedProjection) {
  const Tensor joined = testing::to_tensor({{2, 3, 6, 4}, testing::normals(1, 144)}, DType::f32);
  const std::vector<double> angles = some_angles(3, 2);
  const Rotary at = rotary_tables(angles, 3);
  const Tensor part = slice(joined, 2, 2, 4);
  EXPECT_EQ(rotate(part, at).to_vector(), rotate(contiguous(part), at).to_vector());
  const Tensor apart = permute(joined, {0, 1, 3, 2});  // features not dense
  EXPECT_EQ(rotate(slice(apart, 3, 0, 4), at).to_vector(), rotate(contiguous(slice(apart, 3, 0, 4)), at).to_vector());
}

TEST(Rotary, RefusesWhatDoesNotFit) {
  const Rotary at = rotary_tables(some_angles(3, 2), 3);
  EXPECT_THROW(rotate(Tensor::zeros({1, 4, 1, 4}), at), Error);
  EXPECT_THROW(rotate(Tensor::zeros({1, 3, 1, 6}), at), Error);
  EXPECT_THROW(rotate(Tensor::zeros({3, 1, 4}), at), Error);
  EXPECT_THROW(rotary_tables(some_angles(3, 2), 4), Error);
}

}  // namespace
}  // namespace heddle
