// Convolutions against a double-precision loop: kernel sizes, strides, paddings, odd channels, addends and gradients.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/conv2d.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {
namespace {

Tensor exact_weights(uint64_t seed, const Shape& shape) {
  return to(to(to_tensor({shape, normals(seed, shape.count())}, DType::f32), DType::bf16), DType::f32);
}

Array convolution(const Array& x, const Array& w, const Array& bias, const ConvGeometry& g) {
  const int64_t n = x.shape[0], h = x.shape[1], wd = x.shape[2], in = x.shape[3];
  const int64_t out = w.shape[0], kh = w.shape[2], kw = w.shape[3];
  const int64_t ho = (h + g.padding.top + g.padding.bottom - kh) / g.stride + 1;
  const int64_t wo = (wd + g.padding.left + g.padding.right - kw) / g.stride + 1;
  Array y{{n, ho, wo, out}, std::vector<double>(static_cast<size_t>(n * ho * wo * out))};
  for (int64_t i = 0; i < y.shape.count(); ++i) {
    const int64_t o = i % out, ox = i / out % wo, oy = i / out / wo % ho, p = i / out / wo / ho;
    double total = bias.values.empty() ? 0 : bias[o];
    for (int64_t dy = 0; dy < kh; ++dy) {
      for (int64_t dx = 0; dx < kw; ++dx) {
        const int64_t iy = oy * g.stride + dy - g.padding.top, ix = ox * g.stride + dx - g.padding.left;
        if (iy < 0 || ix < 0 || iy >= h || ix >= wd) continue;
        for (int64_t c = 0; c < in; ++c) total += x[((p * h + iy) * wd + ix) * in + c] * w[((o * in + c) * kh + dy) * kw + dx];
      }
    }
    y[i] = total;
  }
  return y;
}

struct ConvCase {
  Shape x;
  int64_t out, kernel;
  ConvGeometry geometry;
  bool bias = true, residual = false, row_bias = false;
};

void check_conv(const ConvCase& c) {
  const int64_t in = c.x[3];
  const Tensor w = exact_weights(1, {c.out, in, c.kernel, c.kernel}), b = c.bias ? exact_weights(2, {c.out}) : Tensor();
  const Array shape_only = convolution({c.x, std::vector<double>(static_cast<size_t>(c.x.count()))}, to_array(w), {}, c.geometry);
  OpCase test{"conv2d " + c.x.text() + " " + w.shape().text() + " stride " + std::to_string(c.geometry.stride), {c.x}};
  if (c.residual) test.inputs.push_back(shape_only.shape);
  if (c.row_bias) test.inputs.push_back({c.x[0], c.out});
  test.op = [=](const std::vector<Tensor>& t) {
    ConvAddends plus;
    if (c.residual) plus.residual = t[1];
    if (c.row_bias) plus.row_bias = t.back();
    return conv2d(t[0], ConvWeight(w, b, c.geometry, t[0].dtype()), plus);
  };
  test.oracle = [=](const std::vector<Array>& t) {
    Array y = convolution(t[0], to_array(w), b.defined() ? to_array(b) : Array{}, c.geometry);
    const int64_t per_picture = y.shape.count() / std::max<int64_t>(1, y.shape[0]);
    for (int64_t i = 0; i < y.shape.count(); ++i) {
      if (c.residual) y[i] += t[1][i];
      if (c.row_bias) y[i] += t.back()[i / per_picture * c.out + i % c.out];
    }
    return y;
  };
  test.magnitude = std::sqrt(static_cast<double>(in * c.kernel * c.kernel));
  test.slope_magnitude = std::sqrt(static_cast<double>(c.out * c.kernel * c.kernel));
  check(test);
}

const ConvGeometry same3{1, Padding::same(1)};

TEST(Conv2d, kernels_strides_and_paddings) {
  check_conv({{2, 5, 6, 4}, 5, 3, same3});
  check_conv({{1, 4, 3, 7}, 3, 1, {}});
  check_conv({{1, 4, 5, 3}, 4, 1, {2, {}}});
  check_conv({{1, 4, 5, 3}, 4, 1, {1, Padding::same(1)}});
  check_conv({{1, 7, 6, 3}, 2, 5, {1, Padding::same(2)}});
  check_conv({{1, 7, 8, 2}, 3, 7, {1, Padding::same(3)}});
  check_conv({{1, 7, 8, 2}, 3, 7, {2, Padding::same(3)}});
  check_conv({{2, 6, 7, 4}, 5, 3, {2, Padding::same(1)}});
  check_conv({{1, 6, 7, 4}, 5, 3, {2, {0, 0, 1, 1}}});
  check_conv({{1, 8, 7, 2}, 3, 3, {3, {0, 2, 1, 0}}});
  check_conv({{1, 4, 4, 2}, 3, 3, {1, Padding::same(2)}});
  check_conv({{1, 4, 4, 2}, 3, 3, {1, Padding::same(4)}});
  check_conv({{1, 4, 4, 2}, 2, 4, {4, {}}});
}

TEST(Conv2d, patches_that_do_not_overlap) {
  check_conv({{2, 6, 4, 4}, 5, 2, {2, {}}});
  check_conv({{2, 7, 5, 3}, 4, 2, {2, {}}});  // a row and a column belong to no patch
  check_conv({{1, 11, 9, 2}, 3, 4, {4, {}}});
  check_conv({{2, 6, 8, 16}, 8, 2, {2, {}}, true, true, true});
}

TEST(Conv2d, channels_of_every_residue) {
  for (const int64_t in : {1, 9, 16, 17}) check_conv({{1, 3, 3, in}, 20, 3, same3});
  for (const int64_t out : {1, 15, 16, 33}) check_conv({{1, 3, 3, 6}, out, 3, same3});
}

TEST(Conv2d, addends) {
  check_conv({{2, 4, 5, 6}, 8, 3, same3, true, true, false});
  check_conv({{2, 4, 5, 6}, 8, 3, same3, false, false, true});
  check_conv({{2, 4, 5, 6}, 8, 3, same3, true, true, true});
  check_conv({{2, 4, 5, 6}, 8, 3, {2, Padding::same(1)}, true, true, true});
  check_conv({{2, 4, 5, 6}, 8, 1, {}, true, true, true});
  check_conv({{2, 4, 5, 6}, 8, 1, {}, false, false, true});
}

TEST(Conv2d, one_weight_serves_pictures_of_many_sizes) {
  const Tensor w = exact_weights(3, {20, 18, 3, 3}), b = exact_weights(4, {20});
  const ConvWeight weight(w, b, same3, DType::f32);
  for (const auto& [h, wd] : {std::pair<int64_t, int64_t>{1, 1}, {2, 9}, {13, 4}, {33, 31}, {1, 40}}) {
    const Tensor x = exact_weights(5, {2, h, wd, 18});
    const Array want = convolution(to_array(x), to_array(w), to_array(b), same3), got = to_array(conv2d(x, weight));
    for (int64_t i = 0; i < want.shape.count(); ++i) ASSERT_NEAR(got[i], want[i], 2e-4) << h << "x" << wd << " at " << i;
  }
}

TEST(Conv2d, a_strided_view_is_welcome) {
  const ConvWeight weight(exact_weights(3, {8, 6, 3, 3}), {}, same3, DType::f32);
  const Tensor part = slice(exact_weights(5, {2, 5, 4, 10}), 3, 2, 8);
  EXPECT_EQ(conv2d(part, weight).to_vector(), conv2d(contiguous(part), weight).to_vector());
}

TEST(Conv2d, the_same_bytes_twice) {
  const ConvWeight weight(exact_weights(3, {48, 40, 3, 3}), {}, same3, DType::f32);
  const Tensor x = exact_weights(5, {2, 16, 15, 40});
  EXPECT_EQ(conv2d(x, weight).to_vector(), conv2d(x, weight).to_vector());
}

TEST(Conv2d, empty_and_wrong_inputs) {
  const ConvWeight weight(exact_weights(3, {8, 6, 3, 3}), {}, {}, DType::f32);
  EXPECT_EQ(conv2d(Tensor::zeros({0, 5, 4, 6}), weight).shape(), (Shape{0, 3, 2, 8}));
  EXPECT_THROW(conv2d(Tensor::zeros({1, 2, 4, 6}), weight), Error);
  EXPECT_THROW(conv2d(Tensor::zeros({1, 5, 4, 7}), weight), Error);
  EXPECT_THROW(conv2d(Tensor::zeros({1, 5, 4, 6}, DType::bf16), weight), Error);
  EXPECT_THROW(conv2d(Tensor::zeros({1, 5, 4, 6}), weight, {.row_bias = Tensor::zeros({2, 8})}), Error);
  EXPECT_THROW(ConvWeight(Tensor::zeros({8, 6, 3, 3}), {}, {0, {}}, DType::f32), Error);
  EXPECT_THROW(ConvWeight(Tensor::zeros({8, 6, 3, 3}), {}, {1, {-1, 0, 0, 0}}, DType::f32), Error);
}

}  // namespace
}  // namespace heddle::testing
