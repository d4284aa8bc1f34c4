// Intervals and paired tests. Everything is deterministic: resampling draws from a fixed stream.
#pragma once

#include <cstdint>
#include <span>

namespace heddle {

struct Interval {
  double value = 0, low = 0, high = 0;  // 95 %
};

// Of a rate, `successes` of `n` (Wilson 1927).
Interval wilson(int64_t successes, int64_t n);
// Of a mean: percentile bootstrap, 2000 resamples (Efron 1979).
Interval bootstrap_mean(std::span<const double> values);

// Two-sided exact test that `wins` of `wins + losses` discordant pairs is chance (McNemar 1947, binomial form).
double mcnemar(int64_t wins, int64_t losses);
// Two-sided test that the mean of paired differences is 0, by flipping signs 4000 times.
double sign_flip(std::span<const double> differences);

// Of mean(a) / mean(b), resampling pairs.
Interval bootstrap_ratio(std::span<const double> a, std::span<const double> b);

}  // namespace heddle
