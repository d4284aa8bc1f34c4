// The Winograd convolution on every instruction set of this processor: error at a network's channel counts, independence
// of the number of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <hwy/targets.h>

#include "kernels/core/device.h"
#include "kernels/core/tape.h"
#include "kernels/ops/conv2d.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {
namespace {

constexpr int64_t height = 9, width = 10, channels = 640, results = 40;

struct Layer {
  Tensor x, w, b;  // values that bf16 holds exactly
};

Layer make_layer() {
  const auto exact = [](uint64_t seed, const Shape& shape, double size) {
    Array a{shape, normals(seed, shape.count())};
    for (double& v : a.values) v *= size;
    return to(to(to_tensor(a, DType::f32), DType::bf16), DType::f32);
  };
  return {exact(1, {1, height, width, channels}, 1), exact(2, {results, channels, 3, 3}, 1 / std::sqrt(9.0 * channels)),
          exact(3, {results}, 1)};
}

// In double precision.
std::vector<double> oracle(const Layer& layer) {
  const Array x = to_array(layer.x), w = to_array(layer.w), b = to_array(layer.b);
  std::vector<double> y(height * width * results);
  for (int64_t i = 0; i < height * width * results; ++i) {
    const int64_t o = i % results, column = i / results % width, row = i / results / width;
    double total = b[o];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t r = row + tap / 3 - 1, c = column + tap % 3 - 1;
      if (r < 0 || c < 0 || r >= height || c >= width) continue;
      for (int64_t k = 0; k < channels; ++k) total += x[(r * width + c) * channels + k] * w[(o * channels + k) * 9 + tap];
    }
    y[static_cast<size_t>(i)] = total;
  }
  return y;
}

Tensor run(const Layer& layer, DType dtype) {
  return conv2d(to(layer.x, dtype), ConvWeight(layer.w, layer.b, {1, Padding::same(1)}, dtype));
}

// All outputs have a variance near 2, so the difference itself is the error.
double worst(const Tensor& got, const std::vector<double>& want) {
  const std::vector<float> values = got.to_vector();
  double out = 0;
  for (size_t i = 0; i < want.size(); ++i) out = std::max(out, std::abs(values[i] - want[i]));
  return out;
}

TEST(Winograd, error_on_every_instruction_set) {
  const Layer layer = make_layer();
  const std::vector<double> want = oracle(layer);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_LE(worst(run(layer, DType::f32), want), 3e-5) << hwy::TargetName(target);
    EXPECT_LE(worst(run(layer, DType::bf16), want), 0.04) << hwy::TargetName(target);  // half a unit of values up to 8
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Winograd, the_vjp_is_the_transpose) {
  const Layer layer = make_layer();
  Tape tape;
  const Tensor x = tape.watch(layer.x);
  const Tensor y = conv2d(x, ConvWeight(layer.w, {}, {1, Padding::same(1)}, DType::f32));
  const Tensor c = to_tensor({y.shape(), normals(9, y.count())}, DType::f32);
  const std::vector<float> d_x = tape.gradient(y, x, c).to_vector(), xs = layer.x.to_vector(), ys = y.to_vector(), cs = c.to_vector();
  double through_y = 0, through_x = 0;  // <J x, c> = <x, J^T c>
  for (size_t i = 0; i < ys.size(); ++i) through_y += static_cast<double>(ys[i]) * cs[i];
  for (size_t i = 0; i < xs.size(); ++i) through_x += static_cast<double>(xs[i]) * d_x[i];
  EXPECT_NEAR(through_y, through_x, 1e-5 * std::sqrt(static_cast<double>(ys.size())));
}

TEST(Winograd, the_same_bytes_for_any_number_of_threads) {
  const Layer layer = make_layer();
  set_threads(1);
  const std::vector<float> alone = run(layer, DType::f32).to_vector();
  set_threads(3);
  EXPECT_EQ(run(layer, DType::f32).to_vector(), alone);
  set_threads(0);
}

}  // namespace
}  // namespace heddle::testing
