// One call of attend() on the made-up run, and what it is compared with.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/ops/view.h"
#include "tests/attention_control/evaluation.h"

namespace heddle::testing {

using Declare = std::function<void(PlanBuilder&)>;

inline CompiledPlan planned(const Declare& declare, const RunShape& run = small_run()) {
  PlanBuilder plan(run);
  plan.speaks("method", "p.yaml:1", "");
  declare(plan);
  return compile(plan);
}

// Lanes source.cond (rows 0, 1) and target.cond (rows 2, 3).
struct Call {
  explicit Call(const CompiledPlan* plan, int site_of = 1, const RunShape& run_of = small_run())
      : run(run_of), site(static_cast<size_t>(site_of)), x(random_projections(run, site_of, 4, 17)) {
    context = {.moment = {.step = 0, .steps = 10},
               .lanes = lanes_of(run, {Branch::cond}, 2),
               .plan = plan,
               .captures = &captures};
    context.bank = &bank;
  }
  Tensor operator()() { return attend(run.sites[site], run.tokens[site], x.q, x.k, x.v, context); }

  RunShape run;
  size_t site;
  Projections x;
  Captures captures;
  Bank bank;
  AttentionContext context;
};

inline bool same_bits(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

inline void expect_near(const Tensor& got, const Tensor& expected, double tolerance = 1e-5) {
  EXPECT_LE(distance(got, expected).largest, tolerance);
}

inline Tensor rows(const Tensor& x, int64_t begin, int64_t end) {
  return slice(x, 0, begin, end);
}

// The source's rows in place of the target's.
inline Tensor from_source(const Tensor& x) {
  return concat({rows(x, 0, 2), rows(x, 0, 2)}, 0);
}

inline Tensor where(int64_t count, const std::function<bool(int64_t)>& inside) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(inside(i) ? 1.0f : 0.0f);
  return Tensor::from(std::span<const float>(values), {count});
}

inline const LaneRef source{.branch = {}, .member = 0};

}  // namespace heddle::testing
