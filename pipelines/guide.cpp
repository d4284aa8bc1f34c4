// z <- z - sum_g length_g dL_g/dz, as often as the guides ask.
#include "pipelines/guide.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"
#include "pipelines/lanes.h"

namespace heddle {
namespace {

double norm(const Tensor& x) {
  return std::sqrt(sum(square(x)).item());
}

class Guidance {
 public:
  Guidance(Control& control, const Schedule& schedule, const Evaluation& at, const EvaluateRows& evaluate,
           std::vector<GuideRecord>& records)
      : control_(control), schedule_(schedule), at_(at), evaluate_(evaluate), records_(records) {
    for (const Guide& guide : control.plan()->hooks().guides) {
      if (guide.steps.contains(at.step)) guides_.push_back(&guide);
    }
    moment_ = {.step = at.step,
               .steps = at.steps,
               .sigma = at.sigma,
               .stage = at.stage,
               .pass = Pass::guide,
               .begins_step = at.begins_step};
    last_site_ = control.plan()->last_capture(moment_);
  }

  // z [r,C,h,w]: the rows of `lanes`.
  Tensor operator()(Tensor z, const std::vector<Lane>& lanes, const std::vector<int64_t>& rows) {
    std::vector<const Guide*> active = guides_;
    for (int iteration = 0; !active.empty(); ++iteration) {
      Tape tape;
      const Tensor watched = tape.watch(z);
      AttentionContext context = control_.context(moment_, lanes);
      context.stop_after = last_site_;
      try {
        evaluate_(network_input(schedule_, watched, at_.index), rows, at_, context);
      } catch (const StopEvaluation&) {  // every map has been read
      }
      Tensor total;
      std::vector<const Guide*> again;
      const size_t first = records_.size();
      for (const Guide* guide : active) {
        const Tensor loss = guide->loss(control_.captures(), moment_);
        records_.push_back({.method = guide->method,
                            .step = at_.step,
                            .iteration = iteration,
                            .picture = rows.front(),
                            .loss = loss.item()});
        const Verdict verdict = guide->decide ? guide->decide(at_.step, iteration, loss.item()) : Verdict{};
        if (verdict.again) again.push_back(guide);
        if (!verdict.update) continue;
        const Tensor part = scale(loss, guide->length(at_.step));
        total = total.defined() ? add(total, part) : part;
      }
      if (total.defined() && total.is_tracked()) {
        const Tensor update = tape.gradient(total, watched);
        const double share = norm(update) / norm(z);
        std::for_each(records_.begin() + static_cast<std::ptrdiff_t>(first), records_.end(),
                      [share](GuideRecord& record) { record.moved = share; });
        z = subtract(z, update);
      }
      active = std::move(again);
    }
    return z;
  }

 private:
  Control& control_;
  const Schedule& schedule_;
  const Evaluation& at_;
  const EvaluateRows& evaluate_;
  std::vector<GuideRecord>& records_;
  std::vector<const Guide*> guides_;
  Moment moment_;
  int last_site_ = -1;
};

}  // namespace

Tensor guide_latents(Control& control, const Schedule& schedule, const Evaluation& at, const Tensor& x,
                     const EvaluateRows& evaluate, std::vector<GuideRecord>& records) {
  const CompiledPlan* plan = control.plan();
  if (plan == nullptr || !at.begins_step || !plan->guides_at(at.step)) return x;
  const RunShape& run = plan->run();
  const auto members = static_cast<int64_t>(run.members.size());
  const bool together = control.prompts().has_value();
  Guidance guidance(control, schedule, at, evaluate, records);
  std::vector<Tensor> moved(static_cast<size_t>(members * run.pictures));
  for (int64_t picture = 0; picture < run.pictures; ++picture) {
    for (int64_t m = 0; m < members; m += together ? members : 1) {
      std::vector<Lane> lanes = branch_lanes({Branch::cond}, run.members, 1);
      if (!together) {
        lanes = {lanes[static_cast<size_t>(m)]};
        lanes[0].begin = 0, lanes[0].end = 1;
      }
      std::vector<int64_t> rows;
      std::vector<Tensor> parts;
      for (Lane& lane : lanes) {
        lane.picture = picture;
        rows.push_back(lane.member * run.pictures + picture);
        parts.push_back(slice(x, 0, rows.back(), rows.back() + 1));
      }
      const Tensor z = guidance(concat(parts, 0), lanes, rows);
      for (size_t i = 0; i < rows.size(); ++i)
        moved[static_cast<size_t>(rows[i])] = slice(z, 0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1);
    }
  }
  return concat(moved, 0);
}

}  // namespace heddle
