// Attention against a double-precision oracle with the whole map: values, log-sum-exp and gradients through both.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/core/tape.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/attention_check.h"
#include "tests/kernels/ops/instruction_sets.h"

namespace heddle {
namespace {

using testing::Array;
using testing::AttentionArrays;
using testing::AttentionCase;

using testing::check_attention;
using testing::expect_close;
using testing::inputs_of;

TEST(Attention, EqualsDifferencesOfTheOracle) {
  for (const bool causal : {false, true}) {
    const AttentionCase test{
        .batch = 2, .heads = 2, .queries = 3, .keys = 5, .dim = 4, .value_dim = 3, .causal = causal};
    testing::check({.name = "attention " + test.text(),
                    .inputs = test.shapes(),
                    .op =
                        [=](const std::vector<Tensor>& x) {
                          const AttentionResult r = attention(x[0], x[1], x[2], {.causal = causal});
                          return concat({reshape(r.out, {36}), reshape(to(r.lse, x[0].dtype()), {12})}, 0);
                        },
                    .oracle =
                        [=](const std::vector<Array>& x) {
                          AttentionArrays r = attention_forward(test, x);
                          r.out.values.insert(r.out.values.end(), r.lse.values.begin(), r.lse.values.end());
                          return Array{{48}, r.out.values};
                        },
                    .magnitude = 2});
  }
}

TEST(Attention, HeadDims) {
  testing::on_each_instruction_set([] {
    for (const int64_t d : {1, 7, 8, 20, 40, 64, 80, 96, 128, 160, 512}) {
      check_attention({.batch = 1, .heads = 2, .queries = 37, .keys = 45, .dim = d, .value_dim = d});
    }
    check_attention({.batch = 2, .heads = 3, .queries = 33, .keys = 50, .dim = 40, .value_dim = 72});
    check_attention({.batch = 1, .heads = 1, .queries = 70, .keys = 19, .dim = 72, .value_dim = 9});
  });
}

TEST(Attention, Lengths) {
  testing::on_each_instruction_set([] {
    for (const int64_t queries : {1, 3, 16, 77, 197}) {
      for (const int64_t keys : {1, 3, 77, 130, 197}) {
        check_attention({.batch = 1, .heads = 1, .queries = queries, .keys = keys, .dim = 24, .value_dim = 24});
        check_attention(
            {.batch = 1, .heads = 1, .queries = queries, .keys = keys, .dim = 24, .value_dim = 24, .causal = true});
      }
    }
  });
}

TEST(Attention, LongSequences) {
  check_attention({.batch = 1, .heads = 1, .queries = 1030, .keys = 1030, .dim = 40, .value_dim = 40});
  check_attention({.batch = 1, .heads = 1, .queries = 300, .keys = 2100, .dim = 64, .value_dim = 64, .causal = true});
  check_attention({.batch = 1, .heads = 1, .queries = 2100, .keys = 77, .dim = 40, .value_dim = 40});
}

TEST(Attention, NearlyOneHotMapsAndLargeScores) {
  check_attention({.heads = 2, .queries = 40, .keys = 300, .dim = 40, .value_dim = 40, .loudness = 8}, DType::f32);
  check_attention({.heads = 1, .queries = 20, .keys = 90, .dim = 16, .value_dim = 16, .scale = 3.0}, DType::f32);
}

TEST(Attention, RowsWithoutKeysAreZero) {
  const Tensor q = testing::to_tensor({{1, 5, 2, 8}, testing::normals(1, 80)}, DType::f32);
  const Tensor k = testing::to_tensor({{1, 2, 2, 8}, testing::normals(2, 32)}, DType::f32);
  Tape tape;
  const Tensor watched = tape.watch(q);
  const AttentionResult r = attention(watched, k, k, {.causal = true});  // queries 0..2 see nothing
  const std::vector<float> out = r.out.to_vector(), lse = r.lse.to_vector();
  for (int64_t i = 0; i < 3 * 16; ++i) EXPECT_EQ(out[i], 0.0f);
  for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(std::isinf(lse[i]), i % 5 < 3) << i;
  const std::vector<float> back = tape.gradient(r.out, watched).to_vector();
  for (int64_t i = 0; i < 3 * 16; ++i) EXPECT_EQ(back[i], 0.0f);
  for (const float v : back) EXPECT_TRUE(std::isfinite(v));

  const AttentionResult none = attention(q, Tensor::zeros({1, 0, 2, 8}), Tensor::zeros({1, 0, 2, 8}), {});
  for (const float v : none.out.to_vector()) EXPECT_EQ(v, 0.0f);
  for (const float v : none.lse.to_vector()) EXPECT_EQ(v, -std::numeric_limits<float>::infinity());
}

// A broken input must show: NaN in one key reaches every query, NaN in one query only that query.
TEST(Attention, NotANumberIsNotSwallowed) {
  testing::on_each_instruction_set([] {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      std::vector<double> values = testing::normals(1, 20 * 8);
      const Tensor x = testing::to_tensor({{1, 20, 1, 8}, values}, dtype);
      values[3 * 8 + 2] = std::numeric_limits<double>::quiet_NaN();
      const Tensor broken = testing::to_tensor({{1, 20, 1, 8}, values}, dtype);
      for (const float v : attention(x, broken, x, {}).out.to_vector()) ASSERT_TRUE(std::isnan(v));
      const std::vector<float> out = attention(broken, x, x, {}).out.to_vector();
      for (int64_t i = 0; i < 160; ++i) ASSERT_EQ(std::isnan(out[i]), i / 8 == 3) << i;
    }
  });
}

// Keys cut in two and merged by log-sum-exp equal the whole: what joining sources relies on.
TEST(Attention, PartsMergeByLogSumExp) {
  const AttentionCase test{.batch = 2, .heads = 2, .queries = 50, .keys = 83, .dim = 40, .value_dim = 40};
  const std::vector<Array> qkv = inputs_of(test, DType::f32);
  std::vector<Tensor> x;
  for (const Array& a : qkv) x.push_back(testing::to_tensor(a, DType::f32));
  const AttentionResult whole = attention(x[0], x[1], x[2], {});
  const AttentionResult a = attention(x[0], slice(x[1], 1, 0, 30), slice(x[2], 1, 0, 30), {});
  const AttentionResult b = attention(x[0], slice(x[1], 1, 30, 83), slice(x[2], 1, 30, 83), {});
  const std::vector<float> want = whole.out.to_vector(), oa = a.out.to_vector(), ob = b.out.to_vector();
  const std::vector<float> la = a.lse.to_vector(), lb = b.lse.to_vector();
  for (int64_t n = 0; n < static_cast<int64_t>(want.size()); ++n) {
    const int64_t h = n / 40 % 2, i = n / 80 % 50, row = (n / 4000 * 2 + h) * 50 + i;
    const double share = 1 / (1 + std::exp(double(lb[row]) - la[row]));
    EXPECT_NEAR(share * oa[n] + (1 - share) * ob[n], want[n], 2e-6);
  }
}

TEST(Attention, GradientThroughOneOutputAlone) {
  const AttentionCase test{.heads = 2, .queries = 20, .keys = 30, .dim = 8, .value_dim = 8};
  const std::vector<Array> qkv = inputs_of(test, DType::f32);
  for (const bool through_lse : {false, true}) {
    Tape tape;
    std::vector<Tensor> x;
    for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, DType::f32)));
    const AttentionResult r = attention(x[0], x[1], x[2], {});
    AttentionArrays cotangent{{r.out.shape(), std::vector<double>(320, through_lse ? 0.0 : 1.0)},
                              {r.lse.shape(), std::vector<double>(40, through_lse ? 1.0 : 0.0)}};
    const std::vector<Array> want = attention_backward(test, qkv, cotangent);
    const Tensor back = tape.gradient(through_lse ? r.lse : r.out, x[1]);
    expect_close(test, "vjp k of one output", DType::f32, testing::to_array(back), want[1], 4e-6);
  }
}

TEST(Attention, NeverHoldsTheMap) {
  const Tensor x = Tensor::full({1, 4096, 1, 8}, 0.1f);
  Tape tape;
  const Tensor q = tape.watch(x);
  trim_memory();
  reset_peak_memory();
  const int64_t before = memory_stats().peak;
  const AttentionResult r = attention(q, x, x, {});
  tape.gradient(r.out, q);
  EXPECT_LT(memory_stats().peak - before, 4096 * 4096 * 4 / 4);
}

TEST(Attention, SameBytesTwice) {
  const AttentionCase test{.batch = 1, .heads = 3, .queries = 150, .keys = 210, .dim = 40, .value_dim = 40};
  std::vector<Tensor> x;
  for (const Array& a : inputs_of(test, DType::f32)) x.push_back(testing::to_tensor(a, DType::f32));
  const auto bytes = [&](int count) {
    set_threads(count);
    Tape tape;
    const Tensor q = tape.watch(x[0]), k = tape.watch(x[1]);
    const AttentionResult r = attention(q, k, x[2], {});
    std::vector<float> all = r.out.to_vector();
    for (const Tensor& t : {tape.gradient(r.out, q, {}, Tape::Graph::keep), tape.gradient(r.out, k)}) {
      const std::vector<float> more = t.to_vector();
      all.insert(all.end(), more.begin(), more.end());
    }
    set_threads(0);
    return all;
  };
  const std::vector<float> two = bytes(2);
  EXPECT_EQ(two, bytes(2));
  EXPECT_EQ(two, bytes(1));
  EXPECT_EQ(two, bytes(3));
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const Tensor q = Tensor::zeros({1, 4, 2, 8});
  EXPECT_THROW(attention(q, Tensor::zeros({1, 4, 3, 8}), Tensor::zeros({1, 4, 3, 8}), {}), Error);
  EXPECT_THROW(attention(q, Tensor::zeros({1, 5, 2, 8}), Tensor::zeros({1, 4, 2, 8}), {}), Error);
  EXPECT_THROW(attention(q, Tensor::zeros({1, 4, 2, 8}, DType::bf16), q, {}), Error);
  EXPECT_THROW(attention(Tensor::zeros({4, 2, 8}), q, q, {}), Error);
  EXPECT_THROW(attention(permute(Tensor::zeros({1, 4, 8, 2}), {0, 1, 3, 2}), q, q, {}), Error);
}

}  // namespace
}  // namespace heddle
