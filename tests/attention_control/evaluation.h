// One evaluation of all sites of a made-up run under a plan: outputs, captured maps, and the gradients of a random
// linear function of both with respect to every q, k and v.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/joint_run.h"
#include "tests/attention_control/small_run.h"

namespace heddle::testing {

struct Evaluated {
  std::vector<Tensor> outs, maps, gradients;
};

inline std::vector<std::string> capture_names(const CompiledPlan& plan) {
  std::set<std::string> names;
  for (const CompiledPlan::Section& s : plan.sections()) {
    for (const Capture& c : s.program->captures) names.insert(c.name);
  }
  return {names.begin(), names.end()};
}

// What an inversion of one picture leaves in the bank at this step.
inline void invert_into(Bank& bank, const CompiledPlan& plan, Moment moment, uint64_t seed) {
  const RunShape& run = plan.run();
  moment.pass = Pass::invert;
  Captures captures;
  AttentionContext context{.moment = moment,
                           .lanes = {{.name = "cond", .begin = 0, .end = 1}},
                           .plan = &plan,
                           .captures = &captures,
                           .bank = &bank};
  for (const AttentionSite& site : run.sites) {
    const Projections p = random_projections(run, site.depth, 1, seed + static_cast<uint64_t>(site.depth));
    attend(site, run.tokens[static_cast<size_t>(site.depth)], p.q, p.k, p.v, context);
  }
}

inline std::vector<Lane> lanes_at(const CompiledPlan& plan, const Moment& moment) {
  const bool guides = moment.pass == Pass::guide;
  std::vector<Branch> branches = guides ? std::vector{Branch::cond} : plan.branches_at(moment.step);
  std::ranges::stable_partition(branches, [](Branch branch) { return branch == Branch::uncond; });
  return lanes_of(plan.run(), branches, guides ? 1 : plan.run().pictures);
}

inline Rotary rotary_at(const RunShape& run, const AttentionSite& site) {
  return run.sites.front().kind == AttentionKind::joint
             ? rotary_of(run.tokens[static_cast<size_t>(site.depth)], site.head_dim)
             : Rotary{};
}

// x [B,N,H,D] without the segments that a plan holds.
inline Tensor there(const Tensor& x, const TokenLayout& layout, const AttentionSite& site,
                    const AttentionContext& context) {
  std::vector<Tensor> parts;
  for (const TokenSegment& segment : layout) {
    const TokenRange range = range_of(layout, segment.name);
    if (needs(site, segment.name, context)) parts.push_back(slice(x, 1, range.begin, range.end));
  }
  return parts.size() == layout.size() ? x : concat(parts, 1);
}

// What earlier steps leave in the bank of segments.
inline void keep_into(Bank& bank, const CompiledPlan& plan, const Moment& moment, DType dtype, uint64_t seed) {
  const RunShape& run = plan.run();
  Captures captures;
  for (int step = 0; step < moment.step && moment.pass == Pass::denoise; ++step) {
    AttentionContext context{.moment = {.step = step, .steps = moment.steps},
                             .lanes = {},
                             .plan = &plan,
                             .captures = &captures,
                             .bank = &bank};
    context.lanes = lanes_at(plan, context.moment);
    for (const AttentionSite& site : run.sites) {
      const auto* layer = plan.layer(site.depth, context.moment);
      if (layer == nullptr || std::ranges::all_of(layer->keeps, [](const Keep& k) { return k.held == Held::result; }))
        continue;
      const Projections p =
          random_projections(run, site.depth, context.lanes.back().end, seed + static_cast<uint64_t>(site.depth));
      attend(site, run.tokens[static_cast<size_t>(site.depth)], to(p.q, dtype), to(p.k, dtype), to(p.v, dtype), context,
             rotary_at(run, site));
    }
  }
}

inline Evaluated evaluate(const CompiledPlan& plan, const Moment& moment, DType dtype, uint64_t seed) {
  const RunShape& run = plan.run();
  Captures captures;
  Bank bank;
  if (plan.stores_at(moment.step)) invert_into(bank, plan, moment, seed + 500);
  keep_into(bank, plan, moment, dtype, seed + 900);
  AttentionContext context{
      .moment = moment, .lanes = lanes_at(plan, moment), .plan = &plan, .captures = &captures, .bank = &bank};
  const int64_t rows = context.lanes.back().end;
  Tape tape;
  std::vector<Tensor> watched;
  Evaluated done;
  for (const AttentionSite& site : run.sites) {
    const Projections p = random_projections(run, site.depth, rows, seed + static_cast<uint64_t>(site.depth));
    const SiteTokens& tokens = run.tokens[static_cast<size_t>(site.depth)];
    std::array<Tensor, 3> x;
    for (size_t i = 0; i < 3; ++i) {
      const Tensor one = there(i == 0 ? p.q : i == 1 ? p.k : p.v, i == 0 ? tokens.query : tokens.key, site, context);
      watched.push_back(x[i] = tape.watch(to(one, dtype)));
    }
    done.outs.push_back(attend(site, tokens, x[0], x[1], x[2], context, rotary_at(run, site)));
  }
  for (const std::string& name : capture_names(plan)) {
    for (const AttentionMap& map : captures.at(name)) done.maps.push_back(map.values);
  }
  std::vector<Tensor> ys = done.outs, cotangents;
  ys.insert(ys.end(), done.maps.begin(), done.maps.end());
  // Maps are small numbers over many queries: their part of the loss is made as large as that of the outputs.
  for (size_t i = 0; i < ys.size(); ++i)
    cotangents.push_back(to(random_tensor(ys[i].shape(), 977 + i, i < done.outs.size() ? 1 : 8), ys[i].dtype()));
  done.gradients = tape.gradients(ys, cotangents, watched);
  return done;
}

// Differences over the deviation of what was expected (over 1e-3 where that is nearly constant).
struct Distance {
  double largest = 0, typical = 0;  // root mean square
  void add(const Distance& other) {
    largest = std::max(largest, other.largest);
    typical = std::max(typical, other.typical);
  }
};

inline Distance distance(const Tensor& got, const Tensor& expected) {
  if (!(got.shape() == expected.shape())) return {INFINITY, INFINITY};
  const std::vector<float> a = got.to_vector(), b = expected.to_vector();
  const auto count = static_cast<double>(b.size());
  double mean = 0, square = 0, worst = 0, total = 0;
  for (const float v : b) mean += static_cast<double>(v) / count;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    square += std::pow(static_cast<double>(b[i]) - mean, 2) / count;
    total += difference * difference / count;
    worst = std::isfinite(difference) && std::isfinite(worst) ? std::max(worst, std::fabs(difference)) : INFINITY;
  }
  const double deviation = std::max(std::sqrt(square), 1e-3);
  return {worst / deviation, std::isfinite(worst) ? std::sqrt(total) / deviation : INFINITY};
}

inline Distance distance(const std::vector<Tensor>& got, const std::vector<Tensor>& expected) {
  if (got.size() != expected.size()) return {INFINITY, INFINITY};
  Distance worst;
  for (size_t i = 0; i < got.size(); ++i) worst.add(distance(got[i], expected[i]));
  return worst;
}

}  // namespace heddle::testing
