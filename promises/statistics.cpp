// Intervals and paired tests.
#include "promises/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace heddle {
namespace {

constexpr double z95 = 1.959963984540054;  // normal quantile of 0.975
constexpr int resamples = 2000, flips = 4000;

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The 2.5th and 97.5th percentiles of what `draw` gives for resampled indices.
template <typename Statistic>
Interval percentile(double value, size_t n, const Statistic& statistic) {
  std::mt19937_64 engine(1);
  std::vector<size_t> rows(n);
  std::vector<double> drawn;
  for (int i = 0; i < resamples; ++i) {
    for (size_t& row : rows) row = engine() % n;
    drawn.push_back(statistic(rows));
  }
  std::ranges::sort(drawn);
  return {value, drawn[resamples / 40], drawn[resamples - 1 - resamples / 40]};
}

double mean_at(std::span<const double> values, const std::vector<size_t>& rows) {
  double sum = 0;
  for (const size_t row : rows) sum += values[row];
  return sum / static_cast<double>(rows.size());
}

}  // namespace

Interval wilson(int64_t successes, int64_t n) {
  if (n == 0) return {0, 0, 1};
  const double count = static_cast<double>(n), p = static_cast<double>(successes) / count, z2 = z95 * z95;
  const double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
  const double half = z95 / (1 + z2 / count) * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
  return {p, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Interval bootstrap_mean(std::span<const double> values) {
  if (values.empty()) return {};
  return percentile(mean_of(values), values.size(), [&](const auto& rows) { return mean_at(values, rows); });
}

Interval bootstrap_ratio(std::span<const double> a, std::span<const double> b) {
  if (a.empty() || mean_of(b) == 0) return {};
  return percentile(mean_of(a) / mean_of(b), a.size(), [&](const auto& rows) {
    const double below = mean_at(b, rows);
    return below == 0 ? INFINITY : mean_at(a, rows) / below;
  });
}

double mcnemar(int64_t wins, int64_t losses) {
  const int64_t n = wins + losses, fewer = std::min(wins, losses);
  double tail = 0;
  for (int64_t k = 0; k <= fewer; ++k) {
    const auto x = static_cast<double>(k), m = static_cast<double>(n);
    tail += std::exp(std::lgamma(m + 1) - std::lgamma(x + 1) - std::lgamma(m - x + 1) - m * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

double sign_flip(std::span<const double> differences) {
  if (differences.empty()) return 1;
  const double seen = std::abs(std::accumulate(differences.begin(), differences.end(), 0.0));
  std::mt19937_64 engine(1);
  int as_large = 0;
  for (int i = 0; i < flips; ++i) {
    double sum = 0;
    uint64_t bits = 0;
    for (size_t k = 0; k < differences.size(); ++k) {
      if (k % 64 == 0) bits = engine();
      sum += (bits >> (k % 64)) & 1 ? differences[k] : -differences[k];
    }
    as_large += std::abs(sum) >= seen * (1 - 1e-12);
  }
  return (as_large + 1.0) / (flips + 1.0);
}

}  // namespace heddle
