// Bisection and Newton steps on the incomplete beta function, which is evaluated by its continued fraction
// (Abramowitz & Stegun 26.5.8, by Lentz's method).
#include "samplers/beta_quantile.h"

#include <cmath>
#include <initializer_list>

namespace heddle {
namespace {

double continued_fraction(double x, double a, double b) {
  constexpr double tiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double value = d;
  for (int m = 1; m < 400; ++m) {
    for (const double term : {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                              -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      value *= c * d;
    }
    if (std::abs(c * d - 1) < 1e-16) break;
  }
  return value;
}

double log_beta(double a, double b) {
  return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b);
}

// I_x(a, b), x below its mean, where the fraction converges fast.
double lower_tail(double x, double a, double b) {
  return std::exp(a * std::log(x) + b * std::log1p(-x) - log_beta(a, b)) / a * continued_fraction(x, a, b);
}

// p at most I_mean(a, b). Searched for in log x, so that quantiles near 0 keep their relative precision.
double lower_quantile(double p, double a, double b) {
  double low = std::log(p) / a - 700, high = std::log(a / (a + b));
  double y = std::fmin(high, (std::log(p) + std::log(a) + log_beta(a, b)) / a);
  for (int i = 0; i < 200; ++i) {
    const double x = std::exp(y);
    const double excess = lower_tail(x, a, b) - p;
    (excess > 0 ? high : low) = y;
    const double slope = std::exp(a * y + (b - 1) * std::log1p(-x) - log_beta(a, b));  // dI / dlog x
    double next = y - excess / slope;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    if (std::abs(next - y) < 1e-16 * std::fmax(1.0, std::abs(y))) break;
    y = next;
  }
  return std::exp(y);
}

}  // namespace

double beta_quantile(double p, double a, double b) {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  if (p <= lower_tail(a / (a + b), a, b)) return lower_quantile(p, a, b);
  return 1 - lower_quantile(1 - p, b, a);
}

}  // namespace heddle
