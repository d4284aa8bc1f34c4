// One op case, listed once and run in two modes over f32 and bf16: forward against a plain double-precision oracle, and
// the vector-Jacobian product against central differences of that oracle. Tolerances are multiples of the dtype's
// epsilon.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/core/tensor.h"

namespace heddle::testing {

// A double-precision array with the shape of a Tensor.
struct Array {
  Shape shape;
  std::vector<double> values;
  double& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  double operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
};

struct OpCase {
  std::string name;
  std::vector<Shape> inputs;  // filled with reproducible normals, rounded to the dtype under test
  std::function<Tensor(const std::vector<Tensor>&)> op;
  std::function<Array(const std::vector<Array>&)> oracle;
  double low = 0, high = 0;    // where low < high: inputs uniform in this range instead of normal
  double magnitude = 1;        // of the accumulated sums: tolerance = 16 * epsilon * magnitude * max(1, |value|)
  double slope_magnitude = 0;  // the same of the sums that gradients are; 0: as magnitude
};

// Both modes in f32 and bf16. The op receives its inputs in the dtype under test.
void check(const OpCase& test);

std::vector<double> normals(uint64_t seed, int64_t count);
Array to_array(const Tensor& x);
Tensor to_tensor(const Array& x, DType dtype);

}  // namespace heddle::testing
