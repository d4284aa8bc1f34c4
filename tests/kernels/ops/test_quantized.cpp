// Products with quantised matrices: as with the numbers they stand for, a panel at a time and never whole.
#include "kernels/ops/quantized.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "kernels/core/memory.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

// A matrix in blocks of Q8_0, each with the scale 2^-7.
QuantizedMatrix random_q8(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(rows * columns / 32 * 34));
  for (size_t i = 0; i < bytes->size(); i += 34) {
    (*bytes)[i + 1] = std::byte{0x20};
    for (size_t k = 2; k < 34; ++k) (*bytes)[i + k] = static_cast<std::byte>(random() & 255);
  }
  return QuantizedMatrix({.type = BlockType::q8_0,
                          .data = bytes->data(),
                          .rows = rows,
                          .width = columns,
                          .count = columns,
                          .owner = bytes});
}

Tensor random_tensor(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (float& v : values) v = normal(random);
  return Tensor::from(values, shape);
}

TEST(Quantized, CutsAndJoinsAreThoseOfItsNumbers) {
  const QuantizedMatrix a = random_q8(5, 96, 1), b = random_q8(3, 96, 2);
  const QuantizedMatrix both = a.followed_by(b);
  const Tensor numbers = concat({a.numbers(), b.numbers()}, 0);
  EXPECT_EQ(both.numbers().to_vector(), numbers.to_vector());
  EXPECT_EQ(both.row_range(3, 7).numbers().to_vector(), slice(numbers, 0, 3, 7).to_vector());
  // Columns need not begin or end with a block.
  EXPECT_EQ(both.column_range(20, 75).numbers().to_vector(), slice(numbers, 1, 20, 75).to_vector());
  EXPECT_EQ(both.column_range(20, 75).column_range(1, 2).numbers().to_vector(), slice(numbers, 1, 21, 22).to_vector());
  const Tensor plain = random_tensor({4, 96}, 3);
  EXPECT_EQ(a.followed_by(QuantizedMatrix::of(plain)).row_range(5, 9).numbers().to_vector(), plain.to_vector());
}

struct Case {
  QuantizedWeight weight;
  Tensor dense, bias;
};

// Two matrices, one with a low-rank one beside it; `dense`: what it all amounts to.
Case low_rank_case() {
  const QuantizedMatrix a = random_q8(48, 64, 4), b = random_q8(16, 64, 5);
  const LowRank low{random_tensor({3, 64}, 6), random_tensor({16, 3}, 7)};
  const Tensor sum = add(b.numbers(), matmul(low.up, low.down));
  return {stacked({{a}, {b, {low}}}), concat({a.numbers(), sum}, 0), random_tensor({64}, 8)};
}

using Layer = std::function<Tensor(const Tensor&, const LinearWeight&)>;

struct Ran {
  Tensor out, gradient;  // f32
};

Ran ran(const Layer& layer, const Tensor& x, const LinearWeight& weight) {
  Tape tape;
  const Tensor watched = tape.watch(x);
  const Tensor out = layer(watched, weight);
  return {to(out.detach(), DType::f32), to(tape.gradient(sum(square(to(out, DType::f32))), watched), DType::f32)};
}

TEST(Quantized, LinearLayersAndTheirGradients) {
  const Case c = low_rank_case();
  const Tensor x = random_tensor({2, 5, 64}, 9), gate = random_tensor({2, 64}, 10),
               residual = random_tensor({2, 5, 64}, 11);
  const std::pair<const char*, Layer> layers[] = {
      {"plain", [](const Tensor& t, const LinearWeight& w) { return linear(t, w); }},
      {"residual", [&](const Tensor& t, const LinearWeight& w) { return linear(t, w, to(residual, t.dtype())); }},
      {"gated",
       [&](const Tensor& t, const LinearWeight& w) {
         return gated_linear(t, w, to(gate, t.dtype()), to(residual, t.dtype()));
       }},
      {"activated", [](const Tensor& t, const LinearWeight& w) {
         return add(activated_linear(t.detach(), w, Activation::gelu_tanh), linear(t, w));
       }}};
  const LinearWeight exact(c.dense, c.bias, DType::f32), quantized(c.weight, c.bias, DType::f32);
  const LinearWeight dense_half(c.dense, c.bias, DType::bf16), quantized_half(c.weight, c.bias, DType::bf16);
  const auto error = [](const Tensor& a, const Tensor& b) { return testing::error_over_std(a, b); };
  for (const auto& [name, layer] : layers) {
    const Ran want = ran(layer, x, exact), got = ran(layer, x, quantized);
    EXPECT_LE(error(got.out, want.out), 1e-5) << name;
    EXPECT_LE(error(got.gradient, want.gradient), 1e-5) << name;
    // In bf16 not much farther from the truth than a packed layer.
    const Tensor half = to(x, DType::bf16);
    const Ran packed = ran(layer, half, dense_half), kept = ran(layer, half, quantized_half);
    EXPECT_LE(error(kept.out, want.out), 3 * error(packed.out, want.out)) << name;
    EXPECT_LE(error(kept.gradient, want.gradient), 3 * error(packed.gradient, want.gradient)) << name;
  }
}

TEST(Quantized, ColumnsOfALayer) {
  const Case c = low_rank_case();
  const LinearWeight some(columns_of(c.weight, 10, 40), {}, DType::f32);
  const LinearWeight dense(slice(c.dense, 1, 10, 40), {}, DType::f32);
  const Tensor x = random_tensor({3, 30}, 9);
  EXPECT_LE(testing::error_over_std(linear(x, some), linear(x, dense)), 1e-5);
}

// Panels of equal shape belong to layers of different widths, so their products end in rows of different lengths.
TEST(Quantized, LayersOfSeveralPanelsAndOfDifferentWidths) {
  constexpr int64_t columns = 2048;
  const Tensor x = random_tensor({3, columns}, 14);
  const Layer layer = [](const Tensor& t, const LinearWeight& w) { return linear(t, w); };
  for (const int64_t rows : {1500, 3000}) {
    const QuantizedMatrix matrix = random_q8(rows, columns, 15);
    const Ran want = ran(layer, x, LinearWeight(matrix.numbers(), {}, DType::f32));
    const Ran got = ran(layer, x, LinearWeight(QuantizedWeight{matrix}, {}, DType::f32));
    EXPECT_LE(testing::error_over_std(got.out, want.out), 1e-5) << rows;
    EXPECT_LE(testing::error_over_std(got.gradient, want.gradient), 1e-5) << rows;
  }
}

// Forward and backward of a matrix of 16 million numbers hold an eighth of them at a time.
TEST(Quantized, TheMatrixIsNeverWholeInMemory) {
  constexpr int64_t rows = 8192, columns = 2048;
  const LinearWeight weight(QuantizedWeight{random_q8(rows, columns, 12)}, {}, DType::f32);
  const Tensor x = random_tensor({2, columns}, 13);
  trim_memory();
  reset_peak_memory();
  const int64_t before = memory_stats().in_use;
  Tape tape;
  const Tensor watched = tape.watch(x);
  tape.gradient(sum(square(linear(watched, weight))), watched);
  EXPECT_LT(memory_stats().peak - before, rows * columns * 4 / 4);
}

}  // namespace
}  // namespace heddle
