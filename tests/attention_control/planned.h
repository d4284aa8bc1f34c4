// What made-up methods declare, compiled or refused.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/attention_control/small_run.h"
#include "tests/support/refusal.h"

namespace heddle::testing {

struct Declaration {
  std::string method, where, over;
  std::function<void(PlanBuilder&)> declare;
};

inline PlanBuilder built(const std::vector<Declaration>& methods, const RunShape& run = small_run()) {
  PlanBuilder plan(run);
  for (const Declaration& m : methods) {
    plan.speaks(m.method, m.where, m.over);
    m.declare(plan);
  }
  return plan;
}

inline std::string fingerprint(const std::vector<Declaration>& methods) {
  return compile(built(methods)).fingerprint();
}

inline std::string refusal(const std::vector<Declaration>& methods, const RunShape& run = small_run()) {
  return refusal_of([&] { compile(built(methods, run)); }, "composed");
}

inline Declaration at(const std::string& method, int site, Verb verb, Steps steps = {}, const std::string& over = "") {
  return {method, "p.yaml:" + std::to_string(method.size()), over,
          [=](PlanBuilder& plan) { site_at(plan, site).lane(Branch::cond).during(steps).declare(verb); }};
}

}  // namespace heddle::testing
