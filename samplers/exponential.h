// Functions of exponential integrators.
#pragma once

#include <cmath>

namespace heddle {

// (e^z - 1) / z - 1, which is z / 2 near 0.
inline double phi_2(double z) {
  return std::abs(z) < 1e-9 ? z / 2 : std::expm1(z) / z - 1;
}

// (e^z - 1 - z) / z^2 - 1/2, which is z / 6 near 0.
inline double phi_3(double z) {
  return std::abs(z) < 1e-4 ? z / 6 : (std::expm1(z) - z) / (z * z) - 0.5;
}

}  // namespace heddle
