// How far two results are apart: the largest absolute difference over the standard deviation of the expected one.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/core/tensor.h"

namespace heddle::testing {

inline double error_over_std(const Tensor& got, const Tensor& expected) {
  if (!(got.shape() == expected.shape())) return INFINITY;
  const std::vector<float> a = got.to_vector(), b = expected.to_vector();
  double mean = 0, square = 0, worst = 0;
  for (const float v : b) mean += v / static_cast<double>(b.size());
  for (const float v : b) square += (v - mean) * (v - mean) / static_cast<double>(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= worst)) worst = difference;  // a NaN stays
  }
  return worst / std::sqrt(square);
}

}  // namespace heddle::testing
