// Elementwise ops, reductions, views and resampling as op cases.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle {
namespace {

using testing::Array;
using testing::OpCase;

// Element of a at output index i of shape `out`, with broadcasting.
double at(const Array& a, const Shape& out, int64_t i) {
  int64_t offset = 0, step = 1;
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    const int64_t index = i % out[axis];
    i /= out[axis];
    const int own = axis - (out.rank() - a.shape.rank());
    if (own < 0) continue;
    if (a.shape[own] != 1) offset += index * step;
    step *= a.shape[own];
  }
  return a[offset];
}

OpCase binary_case(const char* name, Shape a, Shape b, Tensor (*op)(const Tensor&, const Tensor&),
                   double (*f)(double, double)) {
  return {.name = name,
          .inputs = {a, b},
          .op = [op](const auto& in) { return op(in[0], in[1]); },
          .oracle =
              [f, name](const auto& in) {
                const Shape shape = broadcast_shape(in[0].shape, in[1].shape, name);
                Array out{shape, std::vector<double>(static_cast<size_t>(shape.count()))};
                for (int64_t i = 0; i < shape.count(); ++i) out[i] = f(at(in[0], shape, i), at(in[1], shape, i));
                return out;
              },
          .magnitude = 4};
}

OpCase unary_case(const char* name, std::function<Tensor(const Tensor&)> op, std::function<double(double)> f) {
  return {.name = name,
          .inputs = {{3, 7}},
          .op = [op](const auto& in) { return op(in[0]); },
          .oracle =
              [f](const auto& in) {
                Array out = in[0];
                for (double& v : out.values) v = f(v);
                return out;
              },
          .low = 0.3,
          .high = 2.0,
          .magnitude = 4};
}

TEST(Elementwise, BinaryWithEveryKindOfBroadcast) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{2, 3, 5}, {2, 3, 5}}, {{2, 3, 5}, {5}}, {{5}, {2, 3, 5}},
                                                       {{2, 1, 5}, {3, 1}},    {{2, 3, 5}, {}},  {{4, 1}, {1, 6}}};
  for (const auto& [a, b] : shapes) {
    testing::check(binary_case("add", a, b, add, [](double x, double y) { return x + y; }));
    testing::check(binary_case("subtract", a, b, subtract, [](double x, double y) { return x - y; }));
    testing::check(binary_case("multiply", a, b, multiply, [](double x, double y) { return x * y; }));
    OpCase quotient = binary_case("divide", a, b, divide, [](double x, double y) { return x / y; });
    quotient.low = 0.5;
    quotient.high = 2;
    quotient.magnitude = 16;
    testing::check(quotient);
    testing::check(binary_case("maximum", a, b, maximum, [](double x, double y) { return std::max(x, y); }));
  }
}

TEST(Elementwise, Unary) {
  testing::check(unary_case(
      "scale", [](const Tensor& x) { return scale(x, -1.5); }, [](double v) { return -1.5 * v; }));
  testing::check(unary_case(
      "add_constant", [](const Tensor& x) { return add_constant(x, 0.5); }, [](double v) { return v + 0.5; }));
  testing::check(unary_case("square", square, [](double v) { return v * v; }));
  testing::check(unary_case("square_root", square_root, [](double v) { return std::sqrt(v); }));
  testing::check(unary_case("exponential", exponential, [](double v) { return std::exp(v); }));
  testing::check(unary_case("logarithm", logarithm, [](double v) { return std::log(v); }));
  testing::check(unary_case("absolute", absolute, [](double v) { return std::fabs(v); }));
  testing::check(unary_case(
      "clamp", [](const Tensor& x) { return clamp(x, 0.7, 1.4); }, [](double v) { return std::clamp(v, 0.7, 1.4); }));
}

OpCase reordering_case(const char* name, Shape input, std::function<Tensor(const Tensor&)> op, Shape output,
                       std::function<std::vector<int64_t>(int64_t)> sources) {
  return {.name = name,
          .inputs = {input},
          .op = [op](const auto& in) { return op(in[0]); },
          .oracle =
              [=](const auto& in) {
                Array out{output, std::vector<double>(static_cast<size_t>(output.count()))};
                for (int64_t i = 0; i < output.count(); ++i) {
                  for (const int64_t s : sources(i)) out[i] += s < 0 ? 0 : in[0][s];
                }
                return out;
              },
          .magnitude = 4};
}

TEST(View, ReorderingOps) {
  const auto one = [](int64_t s) { return std::vector<int64_t>{s}; };
  testing::check(reordering_case(
      "permute", {2, 3, 4},
      [](const Tensor& x) {
        return contiguous(permute(x, {2, 0, 1}));
      },
      {4, 2, 3}, [&](int64_t i) { return one(i % 6 * 4 + i / 6); }));
  testing::check(reordering_case(
      "slice", {2, 5}, [](const Tensor& x) { return slice(x, 1, 1, 4); }, {2, 3},
      [&](int64_t i) { return one(i / 3 * 5 + i % 3 + 1); }));
  testing::check(reordering_case(
      "pad", {2, 2}, [](const Tensor& x) { return pad(x, -1, 1, 2); }, {2, 5},
      [&](int64_t i) {
        const int64_t c = i % 5 - 1;
        return one(c < 0 || c > 1 ? -1 : i / 5 * 2 + c);
      }));
  testing::check(reordering_case(
      "concat", {2, 2},
      [](const Tensor& x) {
        return concat({x, slice(x, 1, 1, 2)}, 1);
      },
      {2, 3}, [&](int64_t i) { return one(i / 3 * 2 + std::min<int64_t>(i % 3, 1)); }));
  testing::check(reordering_case(
      "gather", {3, 2},
      [](const Tensor& x) {
        const int64_t rows[] = {2, 0, 2};
        return gather(x, 0, rows);
      },
      {3, 2}, [&](int64_t i) { return one((i / 2 == 1 ? 0 : 4) + i % 2); }));
  testing::check(reordering_case(
      "sum", {2, 3, 2}, [](const Tensor& x) { return sum(x, {1}); }, {2, 2},
      [&](int64_t i) {
        const int64_t b = i / 2 * 6 + i % 2;
        return std::vector<int64_t>{b, b + 2, b + 4};
      }));
  testing::check(reordering_case(
      "upsample_nearest", {1, 2, 2, 3}, [](const Tensor& x) { return upsample_nearest(x, 3, 4); }, {1, 3, 4, 3},
      [&](int64_t i) {
        const int64_t y = i / 12 * 2 / 3, x = i / 3 % 4 / 2;
        return one((y * 2 + x) * 3 + i % 3);
      }));
}

TEST(Reduce, MeanAndMax) {
  testing::check({.name = "mean",
                  .inputs = {{2, 6}},
                  .op = [](const auto& in) { return mean(in[0]); },
                  .oracle =
                      [](const auto& in) {
                        double s = 0;
                        for (double v : in[0].values) s += v;
                        return Array{{}, {s / 12}};
                      }});
  testing::check({.name = "max",
                  .inputs = {{3, 4, 2}},
                  .op = [](const auto& in) { return max(in[0], 1); },
                  .oracle =
                      [](const auto& in) {
                        Array out{{3, 2}, std::vector<double>(6, -1e9)};
                        for (int64_t i = 0; i < 24; ++i)
                          out[i / 8 * 2 + i % 2] = std::max(out[i / 8 * 2 + i % 2], in[0][i]);
                        return out;
                      }});
}

// Each op on runs of many lengths and misalignments, with neighbours, one value for all and strided operands.
TEST(Elementwise, LengthsStepsAndMisalignments) {
  const Array values{{40, 40}, testing::normals(5, 1600)};
  testing::on_each_instruction_set([&] {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensor x = testing::to_tensor(values, dtype);
      for (const int64_t begin : {0, 1, 3, 8}) {
        for (const int64_t n : {1, 2, 7, 8, 15, 16, 17, 31, 32}) {
          const Tensor a = slice(x, 1, begin, begin + n);             // rows apart
          const Tensor b = slice(transpose(x), 1, begin, begin + n);  // elements apart
          const Tensor c = slice(slice(x, 1, 3, 4), 0, 0, 40);        // one value for each row
          const std::vector<float> va = a.to_vector(), vb = b.to_vector(), vc = c.to_vector();
          const std::vector<float> sum = add(a, b).to_vector(), product = multiply(a, c).to_vector();
          const std::vector<float> mixed = weighted_sum(0.5, a, -2, b).to_vector(), scaled = scale(b, 3).to_vector();
          const auto rounded = [&](float v) { return dtype == DType::f32 ? v : static_cast<float>(BFloat16(v)); };
          for (size_t i = 0; i < va.size(); ++i) {
            ASSERT_EQ(sum[i], rounded(va[i] + vb[i]));
            ASSERT_EQ(product[i], rounded(va[i] * vc[i / static_cast<size_t>(n)]));
            ASSERT_EQ(mixed[i], rounded(0.5f * va[i] - 2 * vb[i]));
            ASSERT_EQ(scaled[i], rounded(3 * vb[i]));
          }
        }
      }
    }
  });
}

// All halves and all brain floats keep their value on the way to f32, and every conversion rounds to nearest even.
TEST(Elementwise, Conversions) {
  std::vector<Float16> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i].bits = static_cast<uint16_t>(i);
  const Tensor all = Tensor::borrow(halves.data(), {65536}, DType::f16, std::make_shared<int>());
  std::vector<float> hard;
  for (double v : testing::normals(4, 4000))
    hard.push_back(static_cast<float>(v * std::pow(10.0, std::fmod(v * 100, 5))));
  for (float v : {0.0f, -0.0f, 65504.0f, 65520.0f, 1e-8f, 6e-8f, 1e38f, 3.4e38f, 1.0f + 1.0f / 256, 1.0f + 3.0f / 256})
    hard.push_back(v);
  hard.push_back(std::numeric_limits<float>::quiet_NaN());
  hard.push_back(-std::numeric_limits<float>::infinity());
  const Tensor f = Tensor::from(std::span<const float>(hard), {static_cast<int64_t>(hard.size())});
  const auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  testing::on_each_instruction_set([&] {
    const std::vector<float> wide = to(all, DType::f32).to_vector();
    for (size_t i = 0; i < halves.size(); ++i) ASSERT_TRUE(same(wide[i], static_cast<float>(halves[i]))) << i;
    const std::vector<float> brain = to(f, DType::bf16).to_vector(), half = to(f, DType::f16).to_vector();
    for (size_t i = 0; i < hard.size(); ++i) {
      ASSERT_TRUE(same(brain[i], static_cast<float>(BFloat16(hard[i])))) << hard[i];
      ASSERT_TRUE(same(half[i], static_cast<float>(Float16(hard[i])))) << hard[i];
    }
    const std::vector<float> crossed = to(all, DType::bf16).to_vector();
    for (size_t i = 0; i < halves.size(); ++i) {
      ASSERT_TRUE(same(crossed[i], static_cast<float>(BFloat16(static_cast<float>(halves[i]))))) << i;
    }
  });
}

TEST(Elementwise, ExponentialOverItsRange) {
  std::vector<float> xs;
  for (double x = -87; x < 88.7; x += 0.0137) xs.push_back(static_cast<float>(x));
  const Tensor x = Tensor::from(std::span<const float>(xs), {static_cast<int64_t>(xs.size())});
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor edges = Tensor::from(std::vector<float>{-inf, -200, 0, 89, 1000, inf, std::nanf("")}, {7});
  testing::on_each_instruction_set([&] {
    const std::vector<float> y = exponential(x).to_vector();
    for (size_t i = 0; i < xs.size(); ++i) {
      const double want = std::exp(static_cast<double>(xs[i]));
      ASSERT_NEAR(y[i], want, (xs[i] > 88 ? 4e-6 : 3e-7) * want) << xs[i];
    }
    const std::vector<float> e = exponential(edges).to_vector();
    EXPECT_EQ(std::vector<float>(e.begin(), e.end() - 1), (std::vector<float>{0, 0, 1, inf, inf, inf}));
    EXPECT_TRUE(std::isnan(e.back()));
  });
}

TEST(Elementwise, RefusesWhatDoesNotFit) {
  EXPECT_THROW(add(Tensor::zeros({2, 3}), Tensor::zeros({2, 4})), Error);
  EXPECT_THROW(add(Tensor::zeros({2}), Tensor::zeros({2}, DType::bf16)), Error);
  EXPECT_THROW(slice(Tensor::zeros({2, 3}), 1, 2, 4), Error);
  EXPECT_THROW(reshape(Tensor::zeros({2, 3}), {5}), Error);
}

}  // namespace
}  // namespace heddle
