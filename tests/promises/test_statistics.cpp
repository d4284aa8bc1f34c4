// Intervals and tests against published values and against their own definitions.
#include "promises/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace heddle {
namespace {

TEST(Statistics, WilsonAsPublished) {
  // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
  const struct {
    int64_t r, n;
    double low, high;
  } rows[] = {{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0.0, 0.1611}, {1, 29, 0.0061, 0.1718}};
  for (const auto& row : rows) {
    const Interval i = wilson(row.r, row.n);
    EXPECT_NEAR(i.low, row.low, 5e-5);
    EXPECT_NEAR(i.high, row.high, 5e-5);
  }
  EXPECT_EQ(wilson(0, 0).high, 1);
}

TEST(Statistics, McNemarIsTheBinomialTest) {
  EXPECT_DOUBLE_EQ(mcnemar(0, 0), 1);
  EXPECT_NEAR(mcnemar(5, 0), 2.0 / 32, 1e-12);
  EXPECT_NEAR(mcnemar(1, 6), 2 * (1 + 7) / 128.0, 1e-12);
  EXPECT_DOUBLE_EQ(mcnemar(3, 3), 1);
  EXPECT_NEAR(mcnemar(60, 40), 0.0568879, 1e-6);
}

TEST(Statistics, BootstrapHoldsTheMean) {
  std::mt19937 engine(3);
  std::normal_distribution<double> normal(2, 1);
  int covered = 0;
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<double> values(60);
    for (double& v : values) v = normal(engine);
    const Interval i = bootstrap_mean(values);
    EXPECT_LT(i.low, i.value);
    EXPECT_GT(i.high, i.value);
    covered += i.low <= 2 && 2 <= i.high;
  }
  EXPECT_GE(covered, 87);  // of 100 at a nominal 95
  EXPECT_LE(covered, 99);
}

TEST(Statistics, SignFlipTellsShiftFromNoise) {
  std::vector<double> noise, shifted;
  for (int i = 0; i < 100; ++i) {
    noise.push_back(i % 2 == 0 ? 1.0 : -1.0);
    shifted.push_back(noise.back() + 0.6);
  }
  EXPECT_GT(sign_flip(noise), 0.9);
  EXPECT_LT(sign_flip(shifted), 0.001);
  EXPECT_EQ(sign_flip({}), 1);
}

TEST(Statistics, RatioResamplesPairs) {
  std::vector<double> a, b;
  for (int i = 1; i <= 50; ++i) b.push_back(i), a.push_back(0.25 * i);
  const Interval i = bootstrap_ratio(a, b);  // every pair has the same ratio: no width
  EXPECT_NEAR(i.value, 0.25, 1e-12);
  EXPECT_NEAR(i.low, 0.25, 1e-12);
  EXPECT_NEAR(i.high, 0.25, 1e-12);
}

}  // namespace
}  // namespace heddle
