// Runs op cases; prints the case, mode, dtype and element that failed.
#include "tests/kernels/ops/op_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/core/tape.h"
#include "kernels/ops/view.h"

namespace heddle::testing {
namespace {

double epsilon(DType dtype) {
  return dtype == DType::f32 ? 1.0 / (1 << 23) : 1.0 / (1 << 7);
}

std::vector<Array> make_inputs(const OpCase& test, DType dtype) {
  std::vector<Array> out;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    Array a{test.inputs[i], normals(17 + i, test.inputs[i].count())};
    if (test.low < test.high) {
      for (double& v : a.values) v = test.low + (test.high - test.low) * 0.5 * std::erfc(-v / std::sqrt(2.0));
    }
    out.push_back(to_array(to_tensor(a, dtype)));
  }
  return out;
}

void expect_near(const OpCase& test, const std::string& mode, DType dtype, const Array& got, const Array& want,
                 double bound) {
  ASSERT_EQ(got.shape, want.shape) << test.name << " " << mode << " wanted " << want.shape.text() << " got "
                                   << got.shape.text();
  double worst = 0;
  int64_t where = 0;
  for (int64_t i = 0; i < want.shape.count(); ++i) {
    const double excess = std::abs(got[i] - want[i]) / std::max(1.0, std::abs(want[i]));
    if (!(excess <= worst)) {
      worst = excess;
      where = i;
    }
  }
  EXPECT_LE(worst, bound) << test.name << " " << mode << " " << name_of(dtype) << " at element " << where << ": got "
                          << got[where] << " wanted " << want[where];
}

double dot(const Array& a, const Array& b) {
  double total = 0;
  for (int64_t i = 0; i < a.shape.count(); ++i) total += a[i] * b[i];
  return total;
}

// Central difference of <oracle(inputs), cotangent> in every element of input `which`.
Array difference(const OpCase& test, std::vector<Array> inputs, size_t which, const Array& cotangent) {
  constexpr double h = 1e-5;
  Array slope = inputs[which];
  for (int64_t i = 0; i < slope.shape.count(); ++i) {
    const double at = inputs[which][i];
    inputs[which][i] = at + h;
    const double up = dot(test.oracle(inputs), cotangent);
    inputs[which][i] = at - h;
    const double down = dot(test.oracle(inputs), cotangent);
    inputs[which][i] = at;
    slope[i] = (up - down) / (2 * h);
  }
  return slope;
}

void check_in(const OpCase& test, DType dtype) {
  const std::vector<Array> inputs = make_inputs(test, dtype);
  Tape tape;
  std::vector<Tensor> watched;
  for (const Array& a : inputs) watched.push_back(tape.watch(to_tensor(a, dtype)));
  const Tensor out = test.op(watched);
  const Array want = test.oracle(inputs);
  expect_near(test, "forward", dtype, to_array(out), want, 16 * epsilon(dtype) * test.magnitude);

  const Array cotangent = to_array(to_tensor({want.shape, normals(99, want.shape.count())}, out.dtype()));
  const std::vector<Tensor> ys{out}, cs{to_tensor(cotangent, out.dtype())};
  const std::vector<Tensor> gradients = tape.gradients(ys, cs, watched);
  const double slope_magnitude = test.slope_magnitude > 0 ? test.slope_magnitude : test.magnitude;
  for (size_t i = 0; i < inputs.size(); ++i) {
    expect_near(test, "vjp of input " + std::to_string(i), dtype, to_array(gradients[i]),
                difference(test, inputs, i, cotangent), 16 * epsilon(dtype) * slope_magnitude + 1e-8);
  }
}

}  // namespace

void check(const OpCase& test) {
  check_in(test, DType::f32);
  check_in(test, DType::bf16);
}

std::vector<double> normals(uint64_t seed, int64_t count) {
  std::mt19937_64 bits(seed);
  std::vector<double> out(static_cast<size_t>(count));
  for (double& v : out) {
    const double u = (static_cast<double>(bits() >> 11) + 0.5) / 9007199254740992.0;
    const double w = static_cast<double>(bits() >> 11) / 9007199254740992.0;
    v = std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * w);
  }
  return out;
}

Array to_array(const Tensor& x) {
  const std::vector<float> v = x.to_vector();
  return {x.shape(), {v.begin(), v.end()}};
}

Tensor to_tensor(const Array& x, DType dtype) {
  const std::vector<float> v(x.values.begin(), x.values.end());
  return to(Tensor::from(std::span<const float>(v), x.shape), dtype);
}

}  // namespace heddle::testing
