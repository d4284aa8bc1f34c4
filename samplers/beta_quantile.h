// The quantile function of the beta distribution.
#pragma once

namespace heddle {

// x in [0, 1] with I_x(a, b) = p, the regularised incomplete beta function; p in [0, 1], a, b > 0. Relative error about
// 1e-13.
double beta_quantile(double p, double a, double b);

}  // namespace heddle
