// Score terms in the fused kernel: every form against the oracle, hidden keys, causality, memory, refusals.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/attention_check.h"
#include "tests/kernels/ops/attention_terms.h"
#include "tests/kernels/ops/instruction_sets.h"

namespace heddle {
namespace {

using testing::Array;
using testing::AttentionArrays;
using testing::AttentionCase;
using testing::check_attention;
using testing::TermArrays;
constexpr double inf = std::numeric_limits<double>::infinity();

AttentionCase with(AttentionCase test, std::vector<TermArrays> terms) {
  test.terms = std::move(terms);
  return test;
}

TEST(AttentionTerms, EqualDifferencesOfTheOracle) {
  for (const bool causal : {false, true}) {
    AttentionCase test{.batch = 2, .heads = 2, .queries = 3, .keys = 5, .dim = 4, .value_dim = 3, .causal = causal};
    test.terms = {testing::labels(test, 3, {2, 2, 2, 3}, 0.3), testing::per_key(test, {1, 2})};
    testing::check({.name = "attention " + test.text(),
                    .inputs = test.shapes(),
                    .op =
                        [=](const std::vector<Tensor>& x) {
                          return reshape(attention(x[0], x[1], x[2], options_of(test)).out, {36});
                        },
                    .oracle =
                        [=](const std::vector<Array>& x) {
                          return Array{{36}, attention_forward(test, x).out.values};
                        },
                    .magnitude = 2});
  }
}

TEST(AttentionTerms, EveryFormAndBroadcast) {
  testing::on_each_instruction_set([] {
    for (const bool causal : {false, true}) {
      const AttentionCase test{
          .batch = 2, .heads = 2, .queries = 75, .keys = 109, .dim = 20, .value_dim = 12, .causal = causal};
      for (const int64_t b : {1, 2}) {
        for (const int64_t h : {1, 2}) {
          check_attention(with(test, {testing::labels(test, 4, {b, b, h, 75}, 0.3)}));
          check_attention(with(test, {testing::labels(test, 4, {1, b, h, 75}, 0)}));
          check_attention(with(test, {testing::labels(test, 5, {b, b, h, 1}, 0.2)}));
          check_attention(with(test, {testing::dense(test, {b, h}, 0.4)}));
          check_attention(with(test, {testing::per_key(test, {b, h})}));
        }
      }
      check_attention(with(test, {testing::labels(test, 4, {2, 1, 1, 75}, 0.3)}));
      check_attention(with(test, testing::grid_window(test, 12, 2)));
    }
  });
}

TEST(AttentionTerms, Lengths) {
  testing::on_each_instruction_set([] {
    for (const int64_t queries : {1, 15, 64, 77, 197}) {
      for (const int64_t keys : {1, 3, 96, 130, 197}) {
        AttentionCase test{.queries = queries, .keys = keys, .dim = 24, .value_dim = 24};
        test.terms = {testing::labels(test, 3, {1, 1, 1, queries}, 0.3)};
        check_attention(test);
        test.causal = true;
        check_attention(test);
        test.terms.push_back(testing::dense(test, {1, 1}, 0.1));
        check_attention(test);
      }
    }
  });
}

TEST(AttentionTerms, HeadDims) {
  for (const int64_t d : {8, 40, 64, 80, 128, 160, 512}) {
    AttentionCase test{.heads = 2, .queries = 69, .keys = 101, .dim = d, .value_dim = d};
    test.terms = {testing::labels(test, 4, {1, 1, 2, 69}, 0.3)};
    check_attention(test);
    test.value_dim = d + 9;
    check_attention(test);
  }
}

TEST(AttentionTerms, EightAddUp) {
  AttentionCase test{.batch = 2, .heads = 2, .queries = 70, .keys = 50, .dim = 16, .value_dim = 16};
  for (int i = 0; i < 8; ++i)
    test.terms.push_back(testing::labels(test, 2 + i, {1 + i % 2, 1, 1, i % 3 ? 70 : 1}, 0.02));
  check_attention(test);
}

// Long runs of keys that a block of queries does not see are left out; what is seen must not change.
TEST(AttentionTerms, HiddenTilesAreSkipped) {
  AttentionCase test{.heads = 2, .queries = 400, .keys = 1000, .dim = 40, .value_dim = 40};
  test.terms = testing::grid_window(test, 25, 3);
  check_attention(test);
  test.causal = true;
  check_attention(test);
}

// A NaN among keys that nobody may look at is never met when their tiles are skipped, forward and backward.
TEST(AttentionTerms, SkippedTilesAreNotRead) {
  const int64_t n = 384;
  std::vector<double> values = testing::normals(5, n * 8);
  const Tensor q = testing::to_tensor({{1, n, 1, 8}, values}, DType::f32);
  for (int64_t j = 192 * 8; j < n * 8; ++j) values[static_cast<size_t>(j)] = std::numeric_limits<double>::quiet_NaN();
  const Tensor broken = testing::to_tensor({{1, n, 1, 8}, values}, DType::f32);
  std::vector<int64_t> classes(static_cast<size_t>(n), 0);
  std::fill(classes.begin() + 192, classes.end(), 1);
  const std::vector<float> rows{0, -std::numeric_limits<float>::infinity()};
  AttentionOptions options;
  options.terms = {{Tensor::from(std::span<const int64_t>(classes), {1, n}),
                    Tensor::from(std::span<const float>(rows), {1, 1, 2, 1})}};
  Tape tape;
  const Tensor k = tape.watch(broken);
  const AttentionResult r = attention(q, k, broken, options);
  for (const float v : r.out.to_vector()) ASSERT_TRUE(std::isfinite(v));
  for (const float v : tape.gradient(r.out, k).to_vector()) ASSERT_TRUE(std::isfinite(v));
}

TEST(AttentionTerms, RowsWithoutKeysAreZero) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    AttentionCase test{.heads = 2, .queries = 130, .keys = 200, .dim = 8, .value_dim = 8};
    TermArrays term = testing::labels(test, 2, {1, 1, 1, 130}, 0);
    for (int64_t i = 20; i < 90; ++i) term.rows[i] = term.rows[130 + i] = -inf;  // a whole block among them
    test.terms = {term};
    check_attention(test, dtype);
    const std::vector<Array> qkv = testing::inputs_of(test, dtype);
    Tape tape;
    const Tensor q = tape.watch(testing::to_tensor(qkv[0], dtype));
    const AttentionResult r =
        attention(q, testing::to_tensor(qkv[1], dtype), testing::to_tensor(qkv[2], dtype), options_of(test));
    const std::vector<float> out = r.out.to_vector(), lse = r.lse.to_vector();
    const std::vector<Tensor> ys{r.out, r.lse},
        cs{Tensor::full(r.out.shape(), 1, dtype), Tensor::full(r.lse.shape(), 1)};
    const std::vector<float> back = tape.gradients(ys, cs, std::vector<Tensor>{q})[0].to_vector();
    for (int64_t i = 0; i < 130; ++i) {
      const bool blind = i >= 20 && i < 90;
      EXPECT_EQ(lse[static_cast<size_t>(i)] == -std::numeric_limits<float>::infinity(), blind) << i;
      for (int64_t c = 0; blind && c < 16; ++c) {
        EXPECT_EQ(out[static_cast<size_t>(i * 16 + c)], 0.0f);
        EXPECT_EQ(back[static_cast<size_t>(i * 16 + c)], 0.0f);
      }
    }
  }
}

// torch's way to write a mask: the lowest finite number.
TEST(AttentionTerms, LowestNumberCountsAsMinusInfinity) {
  AttentionCase test{.queries = 33, .keys = 40, .dim = 8, .value_dim = 8};
  test.terms = {testing::labels(test, 2, {1, 1, 1, 33}, 0.4)};
  const std::vector<Array> x = testing::inputs_of(test, DType::f32);
  const auto out = [&] {
    return attention(testing::to_tensor(x[0], DType::f32), testing::to_tensor(x[1], DType::f32),
                     testing::to_tensor(x[2], DType::f32), options_of(test))
        .out.to_vector();
  };
  const std::vector<float> want = out();
  for (double& v : test.terms[0].rows.values) v = std::isinf(v) ? -std::numeric_limits<float>::max() : v;
  EXPECT_EQ(out(), want);
}

TEST(AttentionTerms, RowsMayBeAView) {
  const Tensor x = testing::to_tensor({{2, 30, 2, 8}, testing::normals(1, 960)}, DType::f32);
  const Tensor wide = testing::to_tensor({{2, 5, 30, 33}, testing::normals(2, 9900)}, DType::f32);
  const Tensor view = slice(slice(wide, 1, 2, 4), 3, 1, 31);
  ASSERT_FALSE(view.is_contiguous());
  AttentionOptions seen, copied;
  seen.terms = {{Tensor(), view}};
  copied.terms = {{Tensor(), contiguous(view)}};
  EXPECT_EQ(attention(x, x, x, seen).out.to_vector(), attention(x, x, x, copied).out.to_vector());
}

TEST(AttentionTerms, ZeroIsThePlainKernel) {
  AttentionCase test{.batch = 2, .heads = 2, .queries = 80, .keys = 111, .dim = 40, .value_dim = 40};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<Array> x = testing::inputs_of(test, dtype);
    const auto run = [&](const AttentionOptions& options) {
      Tape tape;
      const Tensor q = tape.watch(testing::to_tensor(x[0], dtype));
      const AttentionResult r = attention(q, testing::to_tensor(x[1], dtype), testing::to_tensor(x[2], dtype), options);
      return std::vector{r.out.to_vector(), r.lse.to_vector(), tape.gradient(r.out, q).to_vector()};
    };
    AttentionOptions zero;
    zero.terms = {
        {Tensor::from(std::span<const int64_t>(std::vector<int64_t>(111, 0)), {1, 111}), Tensor::zeros({1, 1, 1, 80})}};
    EXPECT_EQ(run(zero), run({}));
  }
}

// Labels for 4096 queries and keys: the extra memory is the table's, and no buffer comes near the map.
TEST(AttentionTerms, NeverHoldTheMap) {
  const int64_t n = 4096;
  AttentionCase test{.queries = n, .keys = n, .dim = 8, .value_dim = 8};
  test.terms = {testing::labels(test, 4, {1, 1, 1, n}, 0.3)};
  const AttentionOptions labelled = options_of(test), plain;
  const Tensor x = Tensor::full({1, n, 1, 8}, 0.1f);
  const auto peak = [&](const AttentionOptions& options) {
    Tape tape;
    const Tensor q = tape.watch(x);
    trim_memory();
    reset_peak_memory();
    const int64_t before = memory_stats().peak;
    const AttentionResult r = attention(q, x, x, options);
    tape.gradient(r.out, q);
    return memory_stats().peak - before;
  };
  const int64_t without = peak(plain);
  EXPECT_LT(peak(labelled), n * n / 4);
  EXPECT_LE(peak(labelled), without + 8 * n);
}

TEST(AttentionTerms, RefuseWhatDoesNotFit) {
  const Tensor x = Tensor::zeros({2, 6, 3, 8});
  const auto try_terms = [&](std::vector<ScoreTerm> terms) {
    AttentionOptions options;
    options.terms = std::move(terms);
    try {
      attention(x, x, x, options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto classes = [](std::vector<int64_t> ids) {
    const int64_t n = static_cast<int64_t>(ids.size());
    return Tensor::from(std::span<const int64_t>(ids), {1, n});
  };
  const Tensor good = classes({0, 1, 0, 1, 1, 0}), rows = Tensor::zeros({1, 1, 2, 6});
  const auto expect = [&](std::vector<ScoreTerm> terms, const std::string& part) {
    EXPECT_NE(try_terms(std::move(terms)).find(part), std::string::npos) << part;
  };
  EXPECT_EQ(try_terms({{good, rows}}), "accepted");
  expect({{classes({0, 1, 2, 1, 1, 0}), rows}}, "terms[0] with classes in 0..1; got 2 for key 2");
  expect({{good, rows}, {classes({0, -1, 0, 0, 0, 0}), rows}}, "terms[1] with classes in 0..1; got -1 for key 1");
  expect({{classes({0, 1, 0}), rows}}, "key_class [1 or 2, 6] i64; got [1, 3]");
  expect({{Tensor::zeros({1, 6}), rows}}, "i64; got [1, 6] f32");
  expect({{good, Tensor()}}, "rows; got none");
  expect({{good, Tensor::zeros({3, 1, 2, 6})}}, "rows [1 or 2, 1 or 3, classes, 1 or 6] f32; got [3, 1, 2, 6]");
  expect({{good, Tensor::zeros({1, 1, 2, 5})}}, "got [1, 1, 2, 5]");
  expect({{good, Tensor::zeros({1, 1, 2, 6}, DType::bf16)}}, "bf16");
  expect({{Tensor(), rows}}, "6 rows, one for each key; got 2");
  expect({{Tensor(), permute(Tensor::zeros({1, 1, 6, 6}), {0, 1, 3, 2})}}, "dense last axis");
  expect(std::vector<ScoreTerm>(9, {good, rows}), "at most 8 terms; got 9");
}

}  // namespace
}  // namespace heddle
