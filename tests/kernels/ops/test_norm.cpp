// Normalisations against their formulas in double.
#include "kernels/ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle {
namespace {

using testing::Array;

Array weights(uint64_t seed, int64_t channels) {
  Array w{{channels}, testing::normals(seed, channels)};
  return testing::to_array(testing::to_tensor(w, DType::f32));
}

double silu(double u) {
  return u / (1 + std::exp(-u));
}

using Partners = std::vector<int64_t>;

Array group_oracle(const Array& x, const Array& gamma, const Array& beta, const GroupNormOptions& options,
                   const Partners& pooled_with = {}) {
  const int64_t n = x.shape[0], channels = x.shape.back(), length = x.shape.count() / (n * channels);
  const int64_t width = channels / options.groups;
  Array y = x;
  for (int64_t i = 0; i < n * options.groups; ++i) {
    const int64_t first = i / options.groups * length * channels + i % options.groups * width;
    std::vector<int64_t> rows{i / options.groups};
    if (!pooled_with.empty()) rows.push_back(pooled_with[static_cast<size_t>(rows[0])]);
    const auto count = static_cast<double>(rows.size()) * static_cast<double>(length * width);
    const auto sum = [&](auto of) {
      double total = 0;
      for (const int64_t row : rows) {
        const int64_t begin = row * length * channels + i % options.groups * width;
        for (int64_t k = 0; k < length * width; ++k) total += of(x[begin + k / width * channels + k % width]);
      }
      return total;
    };
    const double mean = sum([](double v) { return v; }) / count;
    const double variance = sum([&](double v) { return (v - mean) * (v - mean); }) / count;
    for (int64_t k = 0; k < length * width; ++k) {
      const int64_t at = first + k / width * channels + k % width, c = i % options.groups * width + k % width;
      const double u = (x[at] - mean) / std::sqrt(variance + options.eps) * gamma[c] + beta[c];
      y[at] = options.then == Activation::silu ? silu(u) : u;
    }
  }
  return y;
}

void check_group(const Shape& shape, const GroupNormOptions& options) {
  const Array gamma = weights(5, shape.back()), beta = weights(6, shape.back());
  testing::check({.name = "group_norm " + shape.text(),
                  .inputs = {shape},
                  .op =
                      [&](const auto& x) {
                        return group_norm(x[0], testing::to_tensor(gamma, DType::f32),
                                          testing::to_tensor(beta, DType::f32), options);
                      },
                  .oracle = [&](const auto& x) { return group_oracle(x[0], gamma, beta, options); },
                  .magnitude = 4});
}

TEST(GroupNorm, GroupsAndRanks) {
  testing::on_each_instruction_set([] {
    for (const Activation then : {Activation::none, Activation::silu}) {
      check_group({2, 3, 2, 8}, {.groups = 4, .eps = 1e-5, .then = then});
      check_group({1, 5, 12}, {.groups = 1, .eps = 1e-6, .then = then});
      check_group({2, 2, 3, 2, 6}, {.groups = 3, .then = then});
      check_group({3, 16}, {.groups = 2, .then = then});
      check_group({1, 7, 34}, {.groups = 2, .then = then});  // groups of 17: not a multiple of any vector
      check_group({1, 3, 40}, {.groups = 1, .then = then});
      check_group({1, 9, 5}, {.groups = 5, .then = then});
    }
  });
}

// Rows that look at others, at themselves, at rows that look elsewhere, or at one another.
TEST(GroupNorm, StatisticsPooledWithAnotherRow) {
  testing::on_each_instruction_set([] {
    for (const Partners& partners : {Partners{0, 0, 0}, Partners{1, 2, 2}, Partners{1, 0, 1}}) {
      for (const Shape& shape : {Shape{3, 3, 2, 8}, Shape{3, 5, 34}}) {
        const GroupNormOptions options{.groups = 2, .eps = 1e-5, .then = Activation::silu};
        const Array gamma = weights(5, shape.back()), beta = weights(6, shape.back());
        // Each row with a level and a spread of its own, so that those of two rows are none of theirs.
        const auto spread = [](int64_t row) { return 0.5 + 0.75 * static_cast<double>(row); };
        Array levels{{shape[0], 1, 1, 1}, {-1, 0.5, 2}}, spreads = levels;
        for (int64_t row = 0; row < 3; ++row) spreads[row] = spread(row);
        if (shape.rank() == 3) levels.shape = spreads.shape = {3, 1, 1};
        testing::check({.name = "group_norm pooled with " + std::to_string(partners[0]) + std::to_string(partners[1]) +
                                std::to_string(partners[2]) + " " + shape.text(),
                        .inputs = {shape},
                        .op =
                            [&](const auto& x) {
                              const auto as = [&](const Array& a) { return testing::to_tensor(a, x[0].dtype()); };
                              return group_norm(add(multiply(x[0], as(spreads)), as(levels)),
                                                testing::to_tensor(gamma, DType::f32),
                                                testing::to_tensor(beta, DType::f32), options, partners);
                            },
                        .oracle =
                            [&](const auto& x) {
                              Array y = x[0];
                              for (int64_t i = 0; i < y.shape.count(); ++i) {
                                const int64_t row = i / (y.shape.count() / 3);
                                y[i] = y[i] * spread(row) + levels[row];
                              }
                              return group_oracle(y, gamma, beta, options, partners);
                            },
                        .magnitude = 8});
      }
    }
  });
}

// Values and gradient.
TEST(GroupNorm, ARowPooledWithItselfIsPlainBitForBit) {
  const Shape shape{2, 33, 31, 64};
  const Array x{shape, testing::normals(3, shape.count())}, cotangent{shape, testing::normals(4, shape.count())};
  const Tensor gamma = testing::to_tensor(weights(5, 64), DType::f32),
               beta = testing::to_tensor(weights(6, 64), DType::f32);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto run = [&](const Partners& partners) {
      Tape tape;
      const Tensor t = tape.watch(testing::to_tensor(x, dtype));
      const Tensor y = group_norm(t, gamma, beta, {.then = Activation::silu}, partners);
      const Tensor back = tape.gradient(y, t, testing::to_tensor(cotangent, dtype));
      return std::pair{y.to_vector(), back.to_vector()};
    };
    EXPECT_EQ(run({0, 1}), run({}));
    EXPECT_NE(run({0, 0}), run({}));
  }
}

// A mean of 3000 standard deviations: the statistics must not lose the variance.
TEST(GroupNorm, LargeMeanKeepsItsVariance) {
  const Shape shape{1, 4096, 64};
  Array x{shape, testing::normals(12, shape.count())};
  for (double& v : x.values) v = 3000 + v;
  x = testing::to_array(testing::to_tensor(x, DType::f32));
  const Array ones{{64}, std::vector<double>(64, 1.0)}, zeros{{64}, std::vector<double>(64, 0.0)};
  const Array want = group_oracle(x, ones, zeros, {.groups = 32});
  const Tensor t = testing::to_tensor(x, DType::f32);
  const Array got = testing::to_array(group_norm(t, Tensor::full({64}, 1), Tensor::zeros({64}), {.groups = 32}));
  for (int64_t i = 0; i < shape.count(); ++i) ASSERT_NEAR(got[i], want[i], 3e-4) << i;  // 3000 in f32 is good to 1.2e-4
}

// More positions than any block of the kernel, several rows: forward against the oracle, and the gradient against its
// defining property, that adding a constant to the input or scaling it about its mean changes nothing.
TEST(GroupNorm, ManyPositions) {
  const Shape shape{2, 33, 31, 64};
  const GroupNormOptions options{.groups = 32, .eps = 1e-5, .then = Activation::silu};
  const Array gamma = weights(5, 64), beta = weights(6, 64);
  const Array x = testing::to_array(testing::to_tensor({shape, testing::normals(3, shape.count())}, DType::f32));
  Tape tape;
  const Tensor t = tape.watch(testing::to_tensor(x, DType::f32));
  const Tensor y = group_norm(t, testing::to_tensor(gamma, DType::f32), testing::to_tensor(beta, DType::f32), options);
  const Array want = group_oracle(x, gamma, beta, options), got = testing::to_array(y);
  for (int64_t i = 0; i < shape.count(); ++i) ASSERT_NEAR(got[i], want[i], 4e-6) << i;
  const Array cotangent{shape, testing::normals(4, shape.count())};
  const Array back = testing::to_array(tape.gradient(y, t, testing::to_tensor(cotangent, DType::f32)));
  double sum[64] = {}, along[64] = {};
  for (int64_t i = 0; i < shape.count(); ++i) {
    const int64_t set = i / (33 * 31 * 64) * 32 + i % 64 / 2;
    sum[set] += back[i];
    along[set] += back[i] * x[i];
  }
  for (int set = 0; set < 64; ++set) {
    EXPECT_NEAR(sum[set], 0, 1e-3) << set;
    EXPECT_NEAR(along[set], 0, 2e-2) << set;  // eps keeps it from being exactly 0
  }
}

Array row_oracle(const Array& x, const Array& gamma, const Array& beta, double eps, bool centred) {
  const int64_t channels = x.shape.back();
  Array y = x;
  for (int64_t r = 0; r < x.shape.count() / channels; ++r) {
    double mean = 0, squares = 0;
    for (int64_t c = 0; c < channels; ++c) mean += centred ? x[r * channels + c] / static_cast<double>(channels) : 0;
    for (int64_t c = 0; c < channels; ++c) squares += std::pow(x[r * channels + c] - mean, 2);
    for (int64_t c = 0; c < channels; ++c) {
      const double hat = (x[r * channels + c] - mean) / std::sqrt(squares / static_cast<double>(channels) + eps);
      y[r * channels + c] = hat * gamma[c] + beta[c];
    }
  }
  return y;
}

TEST(RowNorms, WidthsWithAndWithoutWeights) {
  testing::on_each_instruction_set([] {
    for (const int64_t channels : {2, 7, 16, 23, 40}) {
      const Array gamma = weights(5, channels), beta = weights(6, channels);
      const Array ones{{channels}, std::vector<double>(static_cast<size_t>(channels), 1.0)};
      const Array zeros{{channels}, std::vector<double>(static_cast<size_t>(channels), 0.0)};
      const Tensor g = testing::to_tensor(gamma, DType::f32), b = testing::to_tensor(beta, DType::f32);
      const Shape shape{2, 2, channels};
      testing::check({.name = "layer_norm " + shape.text(),
                      .inputs = {shape},
                      .op = [&](const auto& x) { return layer_norm(x[0], g, b, 1e-5); },
                      .oracle = [&](const auto& x) { return row_oracle(x[0], gamma, beta, 1e-5, true); },
                      .magnitude = 8});
      testing::check({.name = "layer_norm bare " + shape.text(),
                      .inputs = {shape},
                      .op = [&](const auto& x) { return layer_norm(x[0], {}, {}, 1e-3); },
                      .oracle = [&](const auto& x) { return row_oracle(x[0], ones, zeros, 1e-3, true); },
                      .magnitude = 8});
      testing::check({.name = "rms_norm " + shape.text(),
                      .inputs = {shape},
                      .op = [&](const auto& x) { return rms_norm(x[0], g, 1e-6); },
                      .oracle = [&](const auto& x) { return row_oracle(x[0], gamma, zeros, 1e-6, false); },
                      .magnitude = 8});
    }
  });
}

TEST(RowNorms, WideRowsAndViews) {
  const Shape shape{3, 1280};
  const Array x = testing::to_array(testing::to_tensor({shape, testing::normals(3, shape.count())}, DType::f32));
  const Array gamma = weights(5, 1280), beta = weights(6, 1280);
  const Tensor wide = concat({Tensor::full({3, 3}, 50), testing::to_tensor(x, DType::f32)}, 1);
  const Array got = testing::to_array(layer_norm(slice(wide, 1, 3, 1283), testing::to_tensor(gamma, DType::f32),
                                                 testing::to_tensor(beta, DType::f32), 1e-5));
  const Array want = row_oracle(x, gamma, beta, 1e-5, true);
  for (int64_t i = 0; i < shape.count(); ++i) ASSERT_NEAR(got[i], want[i], 4e-6) << i;
}

// q of a joined projection: rows in two runs, read where they lie.
TEST(RowNorms, AThirdOfAJoinedProjection) {
  const Array gamma = weights(5, 10);
  const Tensor g = testing::to_tensor(gamma, DType::f32);
  const Array zeros{{10}, std::vector<double>(10, 0.0)};
  testing::check({.name = "rms_norm of a part",
                  .inputs = {{2, 3, 6, 10}},
                  .op = [&](const auto& x) { return rms_norm(slice(x[0], 2, 2, 4), g, 1e-6); },
                  .oracle =
                      [&](const auto& x) {
                        Array part{{2, 3, 2, 10}, {}};
                        for (int64_t i = 0; i < 120; ++i)
                          part.values.push_back(x[0][(i / 20 * 6 + 2 + i / 10 % 2) * 10 + i % 10]);
                        return row_oracle(part, gamma, zeros, 1e-6, false);
                      },
                  .magnitude = 8});
}

// One shift and scale a picture, as constants and on the tape.
TEST(RowNorms, ModulationOfEachPicture) {
  const auto oracle = [](const Array& x, const Array& shift, const Array& scale) {
    const int64_t pictures = x.shape[0], rows = x.shape.count() / pictures, channels = x.shape.back();
    Array y = x;
    for (int64_t b = 0; b < pictures; ++b) {
      Array one{{rows / channels, channels}, {}}, gamma{{channels}, {}}, beta{{channels}, {}};
      one.values.assign(x.values.begin() + b * rows, x.values.begin() + (b + 1) * rows);
      for (int64_t c = 0; c < channels; ++c) {
        gamma.values.push_back(1 + scale[b * channels + c]);
        beta.values.push_back(shift[b * channels + c]);
      }
      const Array normed = row_oracle(one, gamma, beta, 1e-6, true);
      std::copy(normed.values.begin(), normed.values.end(), y.values.begin() + b * rows);
    }
    return y;
  };
  testing::on_each_instruction_set([&] {
    for (const Shape& shape : {Shape{2, 3, 18}, Shape{3, 2, 2, 7}}) {
      const Shape vectors{shape[0], shape.back()};
      const Array shift = weights(8, vectors.count()), scale = weights(9, vectors.count());
      const auto as = [&](const Array& w, DType dtype) { return testing::to_tensor({vectors, w.values}, dtype); };
      testing::check({.name = "modulated_norm " + shape.text(),
                      .inputs = {shape},
                      .op =
                          [&](const auto& x) {
                            const DType dtype = x[0].dtype();
                            return modulated_norm(x[0], {as(shift, dtype), as(scale, dtype)}, 1e-6);
                          },
                      .oracle = [&](const auto& x) { return oracle(x[0], shift, scale); },
                      .magnitude = 16});
      testing::check({.name = "modulated_norm, all on the tape " + shape.text(),
                      .inputs = {shape, vectors, vectors},
                      .op =
                          [](const auto& x) {
                            return modulated_norm(x[0], {x[1], x[2]}, 1e-6);
                          },
                      .oracle = [&](const auto& x) { return oracle(x[0], x[1], x[2]); },
                      .magnitude = 16});
    }
  });
}

TEST(Norms, RefuseWhatDoesNotFit) {
  const Tensor x = Tensor::zeros({1, 4, 6}), six = Tensor::zeros({6});
  EXPECT_THROW(group_norm(x, six, six, {.groups = 4}), Error);
  EXPECT_THROW(group_norm(x, Tensor::zeros({5}), six, {.groups = 3}), Error);
  EXPECT_THROW(group_norm(x, six, six, {.groups = 3, .then = Activation::gelu}), Error);
  for (const Partners& partners : {Partners{0, 0}, Partners{1}, Partners{-1}})
    EXPECT_THROW(group_norm(x, six, six, {.groups = 3}, partners), Error);
  EXPECT_THROW(layer_norm(x, Tensor::zeros({6}, DType::bf16), six, 1e-5), Error);
  EXPECT_THROW(rms_norm(Tensor::zeros({3}, DType::i64), {}, 1e-5), Error);
  EXPECT_THROW(modulated_norm(x, {six, six}, 1e-5), Error);
}

}  // namespace
}  // namespace heddle
