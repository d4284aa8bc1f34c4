// Columns read back from the log-sum-exp equal those of the whole map, with gradients through q, k and lse.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/core/tape.h"
#include "kernels/ops/attention_columns.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/attention_check.h"
#include "tests/kernels/ops/attention_terms.h"
#include "tests/kernels/ops/instruction_sets.h"

namespace heddle {
namespace {

using testing::Array;
using testing::AttentionCase;
using testing::expect_close;

Array columns_of_map(const AttentionCase& test, const std::vector<Array>& qkv, const Columns& which) {
  const Array map = attention_map(test, qkv);
  const int64_t count = static_cast<int64_t>(which.keys.size()), heads = which.mean_over_heads ? 1 : test.heads;
  Array out{which.mean_over_heads ? Shape{test.batch, test.queries, count}
                                  : Shape{test.batch, test.heads, test.queries, count},
            std::vector<double>(static_cast<size_t>(test.batch * heads * test.queries * count), 0.0)};
  for (int64_t b = 0; b < test.batch; ++b) {
    for (int64_t h = 0; h < test.heads; ++h) {
      for (int64_t i = 0; i < test.queries; ++i) {
        for (int64_t t = 0; t < count; ++t) {
          const double p =
              map[((b * test.heads + h) * test.queries + i) * test.keys + which.keys[static_cast<size_t>(t)]];
          const int64_t place = which.mean_over_heads ? b : b * test.heads + h;
          out[(place * test.queries + i) * count + t] += which.mean_over_heads ? p / double(test.heads) : p;
        }
      }
    }
  }
  return out;
}

Tensor columns_of_attention(const std::vector<Tensor>& x, const Columns& which, const AttentionOptions& options) {
  return attention_columns(x[0], x[1], attention(x[0], x[1], x[2], options).lse, which, options);
}

// Gradients of <columns, cotangent> in q and k, through the softmax: dS = P * (dP - sum_j P dP).
std::vector<Array> columns_backward(const AttentionCase& test, const std::vector<Array>& qkv, const Columns& which,
                                    const Array& cotangent) {
  const Array map = attention_map(test, qkv);
  const int64_t n = test.queries, m = test.keys, count = static_cast<int64_t>(which.keys.size());
  const double scale = test.scale != 0 ? test.scale : 1 / std::sqrt(double(test.dim));
  std::vector<Array> back{qkv[0], qkv[1]};
  for (Array& a : back) std::fill(a.values.begin(), a.values.end(), 0.0);
  for (int64_t b = 0; b < test.batch; ++b) {
    for (int64_t h = 0; h < test.heads; ++h) {
      for (int64_t i = 0; i < n; ++i) {
        const double* p = &map.values[static_cast<size_t>(((b * test.heads + h) * n + i) * m)];
        std::vector<double> dp(static_cast<size_t>(m), 0.0);
        double along = 0;
        for (int64_t t = 0; t < count; ++t) {
          const int64_t place = ((which.mean_over_heads ? b : b * test.heads + h) * n + i) * count + t;
          const int64_t key = which.keys[static_cast<size_t>(t)];
          const double g = cotangent[place] / (which.mean_over_heads ? double(test.heads) : 1.0);
          dp[static_cast<size_t>(key)] += g;
          along += g * p[key];
        }
        for (int64_t j = 0; j < m; ++j) {
          const double ds = scale * p[j] * (dp[static_cast<size_t>(j)] - along);
          const int64_t qi = ((b * n + i) * test.heads + h) * test.dim, kj = ((b * m + j) * test.heads + h) * test.dim;
          for (int64_t c = 0; c < test.dim; ++c) {
            back[0][qi + c] += ds * qkv[1][kj + c];
            back[1][kj + c] += ds * qkv[0][qi + c];
          }
        }
      }
    }
  }
  return back;
}

void check_columns(const AttentionCase& test, const Columns& which, DType dtype) {
  const std::vector<Array> qkv = testing::inputs_of(test, dtype);
  Tape tape;
  std::vector<Tensor> x;
  for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, dtype)));
  const Tensor got = columns_of_attention(x, which, options_of(test));
  const Array want = columns_of_map(test, qkv, which);
  ASSERT_EQ(got.dtype(), DType::f32);
  const double rounding = dtype == DType::f32 ? 4e-6 : 8e-3;
  expect_close(test, "columns", dtype, testing::to_array(got), want, rounding);
  const Array cotangent =
      testing::to_array(testing::to_tensor({want.shape, testing::normals(8, want.shape.count())}, DType::f32));
  const std::vector<Tensor> ys{got}, cs{testing::to_tensor(cotangent, DType::f32)}, xs{x[0], x[1]};
  const std::vector<Tensor> back = tape.gradients(ys, cs, xs);
  const std::vector<Array> want_back = columns_backward(test, qkv, which, cotangent);
  expect_close(test, "vjp q", dtype, testing::to_array(back[0]), want_back[0], dtype == DType::f32 ? 4e-6 : 1.6e-2);
  expect_close(test, "vjp k", dtype, testing::to_array(back[1]), want_back[1], dtype == DType::f32 ? 4e-6 : 1.6e-2);
}

void check_columns(const AttentionCase& test, const std::vector<int64_t>& keys) {
  for (const bool mean : {false, true}) {
    for (const DType dtype : {DType::f32, DType::bf16}) check_columns(test, {keys, mean}, dtype);
  }
}

TEST(AttentionColumns, EqualDifferencesOfTheOracle) {
  for (const bool mean : {false, true}) {
    const AttentionCase test{.batch = 2, .heads = 2, .queries = 3, .keys = 5, .dim = 4, .value_dim = 3};
    const Columns which{{4, 0, 4}, mean};
    testing::check(
        {.name = "columns " + test.text(),
         .inputs = test.shapes(),
         .op = [=](const std::vector<Tensor>& x) { return to(columns_of_attention(x, which, {}), x[0].dtype()); },
         .oracle = [=](const std::vector<Array>& x) { return columns_of_map(test, x, which); },
         .magnitude = 2});
  }
}

TEST(AttentionColumns, ShapesAndTerms) {
  testing::on_each_instruction_set([] {
    AttentionCase test{.batch = 2, .heads = 3, .queries = 75, .keys = 113, .dim = 40, .value_dim = 8};
    check_columns(test, {7});
    check_columns(test, {100, 3, 3, 112});
    test.terms = {testing::labels(test, 4, {2, 2, 3, 75}, 0.3), testing::dense(test, {1, 1}, 0.1)};
    check_columns(test, {100, 3, 5, 112});
    test.causal = true;
    check_columns(test, {100, 3, 5, 112});
    check_columns({.queries = 1, .keys = 2, .dim = 8, .value_dim = 8}, {1});
    check_columns({.heads = 2, .queries = 130, .keys = 9, .dim = 512, .value_dim = 8}, {0, 8});
    check_columns({.heads = 2, .queries = 65, .keys = 30, .dim = 80, .value_dim = 8, .scale = -0.1}, {2, 8});
  });
}

TEST(AttentionColumns, WholeMap) {
  std::vector<int64_t> all(256);
  for (size_t j = 0; j < all.size(); ++j) all[j] = static_cast<int64_t>(j);
  check_columns({.heads = 2, .queries = 256, .keys = 256, .dim = 40, .value_dim = 40}, all);
}

// The only key has all the weight, and nothing to gain.
TEST(AttentionColumns, OneKey) {
  const Tensor q = testing::to_tensor({{1, 5, 2, 8}, testing::normals(1, 80)}, DType::f32);
  Tape tape;
  const std::vector<Tensor> x{tape.watch(q), slice(q, 1, 0, 1), slice(q, 1, 0, 1)};
  const Tensor p = columns_of_attention(x, {{0}}, {});
  for (const float v : p.to_vector()) EXPECT_NEAR(v, 1, 2e-6);
  for (const float v : tape.gradient(p, x[0]).to_vector()) EXPECT_NEAR(v, 0, 2e-6);
}

TEST(AttentionColumns, RowsWithoutKeysAreZero) {
  const Tensor q = testing::to_tensor({{1, 5, 2, 8}, testing::normals(1, 80)}, DType::f32);
  const Tensor k = testing::to_tensor({{1, 2, 2, 8}, testing::normals(2, 32)}, DType::f32);
  Tape tape;
  const std::vector<Tensor> x{tape.watch(q), k, k};
  const Tensor p = columns_of_attention(x, {{0, 1}, false}, {.causal = true});  // queries 0..2 see nothing
  const std::vector<float> got = p.to_vector(), back = tape.gradient(p, x[0]).to_vector();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i] == 0.0f, i % 10 < 6 || i % 10 == 7) << i;
  for (size_t i = 0; i < back.size(); ++i) EXPECT_TRUE(std::isfinite(back[i]) && (i >= 48 || back[i] == 0)) << i;
}

TEST(AttentionColumns, LogSumExpFarBelowTheScoreStaysFinite) {
  const Tensor x = Tensor::full({1, 3, 1, 8}, 20.0f);
  for (const float p : attention_columns(x, x, Tensor::zeros({1, 1, 3}), {{0}, false}, {}).to_vector()) {
    EXPECT_TRUE(std::isfinite(p) && p > 1e37f);
  }
}

// Attention and four live columns with the gradient through both: no buffer near N x N, whatever the heads.
TEST(AttentionColumns, NeverHoldTheMap) {
  const int64_t n = 4096;
  const Tensor noise = testing::to_tensor({{1, n, 2, 8}, testing::normals(3, n * 16)}, DType::f32);
  Tape tape;
  const std::vector<Tensor> x{tape.watch(noise), tape.watch(noise), tape.watch(noise)};
  trim_memory();
  reset_peak_memory();
  const int64_t before = memory_stats().peak;
  const AttentionResult r = attention(x[0], x[1], x[2], {});
  const Tensor columns = attention_columns(x[0], x[1], r.lse, {{1, 70, 800, 4095}}, {});
  ASSERT_EQ(columns.shape(), (Shape{1, n, 4}));
  const std::vector<Tensor> ys{r.out, columns}, cs{Tensor::full(r.out.shape(), 1), Tensor::full(columns.shape(), 1)};
  tape.gradients(ys, cs, x);
  EXPECT_LT(memory_stats().peak - before, n * n / 2);  // bytes: an eighth of one head's map
}

TEST(AttentionColumns, SameBytesTwice) {
  const AttentionCase test{.batch = 1, .heads = 3, .queries = 150, .keys = 210, .dim = 40, .value_dim = 40};
  const std::vector<Array> qkv = testing::inputs_of(test, DType::f32);
  const auto bytes = [&](int count) {
    set_threads(count);
    Tape tape;
    std::vector<Tensor> x;
    for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, DType::f32)));
    const Tensor p = columns_of_attention(x, {{3, 100}}, {});
    const std::vector<float> back = tape.gradient(p, x[1]).to_vector();
    set_threads(0);
    return std::pair(p.to_vector(), back);
  };
  EXPECT_EQ(bytes(2), bytes(2));
  EXPECT_EQ(bytes(2), bytes(1));
}

TEST(AttentionColumns, RefuseWhatDoesNotFit) {
  const Tensor x = Tensor::zeros({2, 6, 3, 8}), lse = Tensor::zeros({2, 3, 6});
  EXPECT_EQ(attention_columns(x, x, lse, {{}, true}, {}).shape(), (Shape{2, 6, 0}));
  EXPECT_THROW(attention_columns(x, x, lse, {{6}}, {}), Error);
  EXPECT_THROW(attention_columns(x, x, lse, {{-1}}, {}), Error);
  EXPECT_THROW(attention_columns(x, x, Tensor::zeros({2, 6, 3}), {{0}}, {}), Error);
  EXPECT_THROW(attention_columns(x, Tensor::zeros({2, 6, 2, 8}), lse, {{0}}, {}), Error);
  EXPECT_THROW(attention_columns(x, x, Tensor(), {{0}}, {}), Error);
}

}  // namespace
}  // namespace heddle
