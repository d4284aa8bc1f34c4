// Attention over parts of the keys, merged in any order, equals attention over all of them, values and gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/attention_merge.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/attention_check.h"
#include "tests/kernels/ops/attention_terms.h"
#include "tests/kernels/ops/instruction_sets.h"

namespace heddle {
namespace {

using testing::Array;
using testing::AttentionArrays;
using testing::AttentionCase;
using testing::expect_close;

// Attention over keys cut at `cuts`, parts in the order drawn.
AttentionResult in_parts(const std::vector<Tensor>& x, std::vector<int64_t> cuts, std::mt19937& luck) {
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(x[1].dim(1));
  std::vector<AttentionResult> parts;
  int64_t begin = 0;
  for (const int64_t end : cuts) {
    parts.push_back(attention(x[0], slice(x[1], 1, begin, end), slice(x[2], 1, begin, end), {}));
    begin = end;
  }
  std::shuffle(parts.begin(), parts.end(), luck);
  return merge_attention(parts);
}

TEST(AttentionMerge, RandomCutsInRandomOrder) {
  testing::on_each_instruction_set([] {
    std::mt19937 luck(5);
    const AttentionCase test{.batch = 2, .heads = 3, .queries = 50, .keys = 83, .dim = 40, .value_dim = 27};
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const std::vector<Array> qkv = testing::inputs_of(test, dtype);
      const AttentionArrays want = attention_forward(test, qkv);
      const Tensor d_out = testing::to_tensor({want.out.shape, testing::normals(8, want.out.shape.count())}, dtype);
      const Tensor d_lse =
          testing::to_tensor({want.lse.shape, testing::normals(9, want.lse.shape.count())}, DType::f32);
      const std::vector<Array> want_back =
          attention_backward(test, qkv, {testing::to_array(d_out), testing::to_array(d_lse)});
      for (const int64_t count : {1, 2, 5}) {  // an empty part now and then
        std::vector<int64_t> cuts;
        for (int64_t i = 0; i < count; ++i) cuts.push_back(static_cast<int64_t>(luck() % 84));
        Tape tape;
        std::vector<Tensor> x;
        for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, dtype)));
        const AttentionResult got = in_parts(x, cuts, luck);
        const double rounding = dtype == DType::f32 ? 4e-6 : 1.6e-2;
        expect_close(test, "merged out", dtype, testing::to_array(got.out), want.out, rounding);
        expect_close(test, "merged lse", dtype, testing::to_array(got.lse), want.lse,
                     dtype == DType::f32 ? 4e-6 : 1e-3);
        const std::vector<Tensor> ys{got.out, got.lse}, cs{d_out, d_lse}, back = tape.gradients(ys, cs, x);
        for (int i = 0; i < 3; ++i)
          expect_close(test, "merged vjp", dtype, testing::to_array(back[i]), want_back[i], 2 * rounding);
      }
    }
  });
}

// The op alone against differences: out and lse of each part are inputs.
TEST(AttentionMerge, EqualsDifferences) {
  const Shape out{2, 3, 2, 5}, lse{2, 2, 3};
  testing::check({.name = "merge",
                  .inputs = {out, lse, out, lse, out, lse},
                  .op =
                      [&](const std::vector<Tensor>& x) {
                        std::vector<AttentionResult> parts;
                        for (size_t i = 0; i < 6; i += 2) parts.push_back({x[i], to(x[i + 1], DType::f32)});
                        const AttentionResult r = merge_attention(parts);
                        return concat({reshape(r.out, {60}), reshape(to(r.lse, x[0].dtype()), {12})}, 0);
                      },
                  .oracle =
                      [&](const std::vector<Array>& x) {
                        Array made{{72}, std::vector<double>(72, 0.0)};
                        for (int64_t row = 0; row < 12; ++row) {  // lse's (b, h, i)
                          const int64_t b = row / 6, h = row / 3 % 2, i = row % 3, at = ((b * 3 + i) * 2 + h) * 5;
                          double total = 0;
                          for (size_t p = 0; p < 6; p += 2) total += std::exp(x[p + 1][row]);
                          for (size_t p = 0; p < 6; p += 2) {
                            for (int64_t c = 0; c < 5; ++c)
                              made[at + c] += std::exp(x[p + 1][row]) / total * x[p][at + c];
                          }
                          made[60 + row] = std::log(total);
                        }
                        return made;
                      }});
}

TEST(AttentionMerge, PartsAndRowsWithoutKeys) {
  const float none = -std::numeric_limits<float>::infinity();
  const std::vector<float> first{2, none, none}, second{none, 3, none};
  Tape tape;
  const Tensor a = tape.watch(Tensor::full({1, 3, 1, 2}, 5)),
               la = tape.watch(Tensor::from(std::span<const float>(first), {1, 1, 3}));
  const Tensor b = tape.watch(Tensor::full({1, 3, 1, 2}, 7)),
               lb = tape.watch(Tensor::from(std::span<const float>(second), {1, 1, 3}));
  const std::vector<AttentionResult> parts{{a, la}, {b, lb}};
  const AttentionResult r = merge_attention(parts);
  EXPECT_EQ(r.out.to_vector(), (std::vector<float>{5, 5, 7, 7, 0, 0}));
  EXPECT_EQ(r.lse.to_vector(), (std::vector<float>{2, 3, none}));
  const std::vector<Tensor> ys{r.out, r.lse}, cs{Tensor::full({1, 3, 1, 2}, 1), Tensor::full({1, 1, 3}, 1)},
      xs{a, la, b, lb};
  const std::vector<Tensor> back = tape.gradients(ys, cs, xs);
  EXPECT_EQ(back[0].to_vector(), (std::vector<float>{1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(back[1].to_vector(), (std::vector<float>{1, 0, 0}));
  EXPECT_EQ(back[2].to_vector(), (std::vector<float>{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(back[3].to_vector(), (std::vector<float>{0, 1, 0}));
}

TEST(AttentionMerge, NotANumberIsNotSwallowed) {
  const std::vector<float> bad{std::numeric_limits<float>::quiet_NaN()}, good{1};
  const auto lse = [](const std::vector<float>& v) { return Tensor::from(std::span<const float>(v), {1, 1, 1}); };
  const Tensor out = Tensor::full({1, 1, 1, 3}, 1);
  const std::vector<std::pair<bool, bool>> broken{{true, false}, {false, true}, {true, true}};
  for (const auto& [first, last] : broken) {
    const std::vector<AttentionResult> parts{{out, lse(first ? bad : good)}, {out, lse(last ? bad : good)}};
    for (const float v : merge_attention(parts).out.to_vector()) EXPECT_TRUE(std::isnan(v));
    EXPECT_TRUE(std::isnan(merge_attention(parts).lse.item()));
  }
}

TEST(AttentionMerge, OnePartIsItself) {
  const AttentionResult part{Tensor::full({1, 2, 1, 3}, 4), Tensor::full({1, 1, 2}, 1)};
  EXPECT_EQ(merge_attention(std::vector{part}).out.bytes(), part.out.bytes());
}

TEST(AttentionMerge, RefusesWhatDoesNotFit) {
  const AttentionResult part{Tensor::zeros({1, 2, 1, 3}), Tensor::zeros({1, 1, 2})};
  EXPECT_THROW(merge_attention({}), Error);
  EXPECT_THROW(merge_attention(std::vector<AttentionResult>{part, {Tensor::zeros({1, 2, 1, 4}), part.lse}}), Error);
  EXPECT_THROW(merge_attention(std::vector<AttentionResult>{part, {part.out, Tensor::zeros({1, 2, 1})}}), Error);
  EXPECT_THROW(
      merge_attention(std::vector<AttentionResult>{part, {Tensor::zeros({1, 2, 1, 3}, DType::bf16), part.lse}}), Error);
  EXPECT_THROW(merge_attention(std::vector<AttentionResult>{part, {Tensor(), part.lse}}), Error);
}

}  // namespace
}  // namespace heddle
