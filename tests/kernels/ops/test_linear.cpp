// Linear layers against a double-precision product: odd sizes, strided inputs, storage dtypes, addends and gradients.
#include <gtest/gtest.h>

#include <cmath>
#include <hwy/targets.h>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {
namespace {

// Reproducible weights that every storage dtype holds exactly.
Tensor exact_weights(uint64_t seed, const Shape& shape) {
  return to(to(to_tensor({shape, normals(seed, shape.count())}, DType::f32), DType::bf16), DType::f32);
}

Array product(const Array& x, const Array& w, const Array& b) {
  const int64_t in = w.shape[1], out = w.shape[0], rows = x.shape.count() / in;
  Shape shape = x.shape;
  shape[shape.rank() - 1] = out;
  Array y{shape, std::vector<double>(static_cast<size_t>(shape.count()))};
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t n = 0; n < out; ++n) {
      double total = b.values.empty() ? 0 : b[n];
      for (int64_t k = 0; k < in; ++k) total += x[m * in + k] * w[n * in + k];
      y[m * out + n] = total;
    }
  }
  return y;
}

struct LinearCase {
  Shape x;
  int64_t out;
  bool bias, residual;
};

void check_linear(const LinearCase& c) {
  const int64_t in = c.x.back();
  const Tensor w = exact_weights(1, {c.out, in}), b = c.bias ? exact_weights(2, {c.out}) : Tensor();
  Shape y = c.x;
  y[y.rank() - 1] = c.out;
  OpCase test{"linear " + c.x.text() + " to " + std::to_string(c.out), {c.x}};
  if (c.residual) test.inputs.push_back(y);
  test.op = [=](const std::vector<Tensor>& t) { return linear(t[0], LinearWeight(w, b, t[0].dtype()), t.size() > 1 ? t[1] : Tensor()); };
  test.oracle = [=](const std::vector<Array>& t) {
    Array out = product(t[0], to_array(w), b.defined() ? to_array(b) : Array{});
    for (int64_t i = 0; t.size() > 1 && i < out.shape.count(); ++i) out[i] += t[1][i];
    return out;
  };
  test.magnitude = std::sqrt(static_cast<double>(in));
  check(test);
}

TEST(Linear, shapes_and_addends) {
  check_linear({{3, 5}, 7, false, false});
  check_linear({{2, 3, 17}, 33, true, false});
  check_linear({{2, 3, 17}, 33, true, true});
  check_linear({{4, 16}, 64, false, true});
  check_linear({{1, 70}, 1, true, true});
  check_linear({{5, 1}, 130, true, false});
  check_linear({{9}, 4, true, false});
}

// residual + gate * (x W^T + b), the gate a constant or on the tape.
void check_gated(const Shape& x, int64_t out, bool tracked_gate) {
  const int64_t in = x.back();
  const Tensor w = exact_weights(1, {out, in}), b = exact_weights(2, {out}), constant = exact_weights(4, {x[0], out});
  Shape y = x;
  y[y.rank() - 1] = out;
  OpCase test{"gated_linear " + x.text() + (tracked_gate ? ", tracked gate" : ""), {x, y}};
  if (tracked_gate) test.inputs.push_back({x[0], out});
  test.op = [=](const std::vector<Tensor>& t) {
    return gated_linear(t[0], LinearWeight(w, b, t[0].dtype()), t.size() > 2 ? t[2] : to(constant, t[0].dtype()), t[1]);
  };
  test.oracle = [=](const std::vector<Array>& t) {
    const Array gate = t.size() > 2 ? t[2] : to_array(constant);
    Array result = product(t[0], to_array(w), to_array(b));
    const int64_t each = result.shape.count() / x[0];
    for (int64_t i = 0; i < result.shape.count(); ++i) result[i] = t[1][i] + gate[i / each * out + i % out] * result[i];
    return result;
  };
  test.magnitude = 4 * std::sqrt(static_cast<double>(in));
  check(test);
}

TEST(Linear, gates) {
  check_gated({2, 3, 17}, 33, false);
  check_gated({1, 5, 16}, 64, false);
  check_gated({3, 70}, 5, false);
  check_gated({2, 2, 3, 9}, 20, false);
  check_gated({2, 3, 17}, 33, true);
}

TEST(Linear, activations) {
  const int64_t in = 24, out = 40;
  const Tensor w = exact_weights(1, {out, in}), b = exact_weights(2, {out});
  for (const Activation then : {Activation::gelu_tanh, Activation::silu}) {
    OpCase test{"activated_linear", {{2, 3, in}}};
    test.op = [=](const std::vector<Tensor>& t) { return activated_linear(t[0], LinearWeight(w, b, t[0].dtype()), then); };
    test.oracle = [=](const std::vector<Array>& t) {
      Array y = product(t[0], to_array(w), to_array(b));
      for (double& v : y.values) {
        v = then == Activation::silu ? v / (1 + std::exp(-v))
                                     : 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      }
      return y;
    };
    test.magnitude = 4 * std::sqrt(static_cast<double>(in));
    check(test);
  }
}

TEST(Linear, gradients_on_every_instruction_set) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    check_linear({{17, 70}, 37, true, false});
    check_linear({{5, 41}, 130, true, true});
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Linear, weights_of_every_storage_dtype) {
  const Tensor w = exact_weights(1, {24, 20}), b = exact_weights(2, {24}), x = exact_weights(3, {6, 20});
  for (const DType compute : {DType::f32, DType::bf16}) {
    const Tensor want = linear(to(x, compute), LinearWeight(w, b, compute));
    for (const DType stored : {DType::bf16, DType::f16}) {
      const Tensor got = linear(to(x, compute), LinearWeight(to(w, stored), to(b, stored), compute));
      EXPECT_EQ(got.to_vector(), want.to_vector()) << name_of(stored);
    }
  }
}

TEST(Linear, rows_of_a_joined_projection_need_no_copy_and_agree) {
  const Tensor joined = exact_weights(4, {2, 5, 48}), w = exact_weights(5, {10, 16});
  const LinearWeight weight(w, {}, DType::f32);
  const Tensor part = slice(joined, 2, 16, 32);
  EXPECT_EQ(linear(part, weight).to_vector(), linear(contiguous(part), weight).to_vector());
  const Tensor turned = permute(exact_weights(6, {2, 16, 5}), {0, 2, 1});
  EXPECT_EQ(linear(turned, weight).to_vector(), linear(contiguous(turned), weight).to_vector());
}

TEST(Linear, gradient_only_of_the_residual) {
  const LinearWeight weight(exact_weights(5, {3, 4}), {}, DType::f32);
  Tape tape;
  const Tensor r = tape.watch(exact_weights(7, {2, 3}));
  const Tensor y = linear(exact_weights(8, {2, 4}), weight, r);
  EXPECT_EQ(tape.gradient(y, r).to_vector(), std::vector<float>(6, 1.0f));
}

TEST(Linear, empty_and_wrong_inputs) {
  const LinearWeight weight(exact_weights(5, {3, 4}), {}, DType::f32);
  EXPECT_EQ(linear(Tensor::zeros({0, 4}), weight).shape(), (Shape{0, 3}));
  EXPECT_THROW(linear(Tensor::zeros({2, 5}), weight), Error);
  EXPECT_THROW(linear(Tensor::zeros({2, 4}, DType::bf16), weight), Error);
  EXPECT_THROW(linear(Tensor::zeros({2, 4}), weight, Tensor::zeros({2, 4})), Error);
  EXPECT_THROW(LinearWeight(Tensor::zeros({3, 4}), Tensor::zeros({4}), DType::f32), Error);
  EXPECT_THROW(LinearWeight(Tensor::zeros({0, 4}), {}, DType::f32), Error);
}

}  // namespace
}  // namespace heddle::testing
