// Rows in, guidance out.
#include "pipelines/guided_network.h"

#include <algorithm>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/lanes.h"

namespace heddle {
namespace {

Moment moment_of(const Evaluation& at, Pass pass) {
  return {.step = at.step,
          .steps = at.steps,
          .sigma = at.sigma,
          .stage = at.stage,
          .pass = pass,
          .begins_step = at.begins_step};
}

template <typename Pick>
Conditioning each_part(Pick pick) {
  return {.text = pick(&Conditioning::text),
          .text_embeds = pick(&Conditioning::text_embeds),
          .time_ids = pick(&Conditioning::time_ids),
          .class_labels = pick(&Conditioning::class_labels),
          .guidance = pick(&Conditioning::guidance)};
}

// In each step, of a run that begins with an evaluation.
std::vector<int> network_calls(const Schedule& schedule, int begin) {
  std::vector<int> calls(static_cast<size_t>(schedule.steps));
  for (const Evaluation& at : schedule.evaluations) calls[static_cast<size_t>(at.step)] += at.index >= begin ? 1 : 0;
  return calls;
}

}  // namespace

GuidedNetwork::GuidedNetwork(Parts parts, Control& control) : parts_(std::move(parts)), control_(control) {
  const bool guided = parts_.guidance.scale > 1;
  branches_ = guided ? std::vector{Branch::uncond, Branch::cond} : std::vector{Branch::cond};
  if (parts_.pass == Pass::invert) return;
  const int64_t text = parts_.cond.text.dim(1);
  const CompiledPlan& plan = control_.compile({.sites = parts_.network.sites(),
                                               .tokens = parts_.network.site_tokens(parts_.height, parts_.width, text),
                                               .group_norms = parts_.network.group_norms(),
                                               .members = parts_.members,
                                               .guided = guided,
                                               .guided_steps = parts_.guidance.steps,
                                               .steps = parts_.schedule.steps,
                                               .pictures = parts_.pictures,
                                               .height = parts_.height,
                                               .width = parts_.width,
                                               .source = parts_.source,
                                               .calls = network_calls(parts_.schedule, parts_.begin)});
  for (const PredictionTerm& term : plan.predictions()) {
    if (std::ranges::find(branches_, term.branch) == branches_.end()) branches_.push_back(term.branch);
  }
}

// The plan whose hooks, prediction terms and gates act here; null for none.
const CompiledPlan* GuidedNetwork::turns() const {
  return parts_.pass == Pass::denoise ? control_.plan() : nullptr;
}

std::vector<Branch> GuidedNetwork::branches_at(int step) const {
  std::vector<Branch> out = branches_;
  if (const CompiledPlan* plan = turns()) {
    const std::vector<Branch> now = plan->branches_at(step);
    std::erase_if(out, [&](Branch branch) { return std::ranges::find(now, branch) == now.end(); });
  } else if (!parts_.guidance.steps.contains(step)) {
    std::erase(out, Branch::uncond);
  }
  return out;
}

Tensor GuidedNetwork::evaluate(const Tensor& x, const Evaluation& at, const Conditioning& conditioning,
                               AttentionContext& context) const {
  const Tensor timesteps = Tensor::full({x.dim(0)}, static_cast<float>(at.timestep));
  return parts_.network(x, timesteps, conditioning, context);
}

Tensor GuidedNetwork::before(const Evaluation& at, const Tensor& x) {
  const CompiledPlan* plan = turns();
  if (plan == nullptr || !at.begins_step) return x;
  for (const auto& hook : plan->hooks().before_step) hook(moment_of(at, parts_.pass));
  const EvaluateRows rows_of_cond = [this](const Tensor& input, const std::vector<int64_t>& rows, const Evaluation& now,
                                           AttentionContext& context) {
    const Conditioning conditioning = each_part([&](Tensor Conditioning::*part) {
      const Tensor& all = parts_.cond.*part;
      return all.defined() ? gather(all, 0, rows) : all;
    });
    evaluate(extra_channels_.defined() ? concat({input, gather(extra_channels_, 0, rows)}, 1) : input, now,
             conditioning, context);
  };
  return guide_latents(control_, parts_.schedule, at, x, rows_of_cond, losses_);
}

Tensor GuidedNetwork::predict(const Tensor& x, const Evaluation& at) {
  const std::vector<Branch> branches = branches_at(at.step);
  const Conditioning conditioning = each_part([&](Tensor Conditioning::*part) {
    std::vector<Tensor> rows;
    for (const Branch branch : branches) rows.push_back((branch == Branch::uncond ? parts_.uncond : parts_.cond).*part);
    return rows[0].defined() ? concat(rows, 0) : Tensor();
  });
  const Moment moment = moment_of(at, parts_.pass);
  const std::vector<Lane> lanes = branch_lanes(branches, parts_.members, parts_.pictures);
  AttentionContext context = control_.context(moment, lanes);
  const Tensor rows = extra_channels_.defined() ? concat({x, extra_channels_}, 1) : x;
  const Tensor prediction = evaluate(repeat(rows, 0, static_cast<int64_t>(branches.size())), at, conditioning, context);
  if (turns() != nullptr) {
    for (const auto& hook : turns()->hooks().after_evaluation) hook(control_.captures(), moment, lanes);
  }
  if (branches.size() == 1) return prediction;  // without guidance, or where it does not hold
  return guided(prediction, branches, at, without_blocks(rows, at));
}

// Undefined where skip-layer guidance does not hold. The network by itself: no method has a part in it.
Tensor GuidedNetwork::without_blocks(const Tensor& rows, const Evaluation& at) const {
  if (!parts_.guidance.skip.hold_at(at.step, at.steps)) return {};
  Conditioning conditioning = parts_.cond;
  conditioning.skip_blocks = parts_.guidance.skip.blocks;
  AttentionContext context;
  return evaluate(rows, at, conditioning, context);
}

Tensor GuidedNetwork::guided(const Tensor& prediction, const std::vector<Branch>& branches, const Evaluation& at,
                             const Tensor& skipped) const {
  const std::vector<Tensor> parts = split(prediction, 0, static_cast<int64_t>(branches.size()));
  const auto part = [&](Branch branch) {
    const auto found = std::ranges::find(branches, branch);
    return found == branches.end() ? Tensor() : parts[static_cast<size_t>(found - branches.begin())];
  };
  BranchPredictions of{.cond = part(Branch::cond), .uncond = part(Branch::uncond)};
  if (skipped.defined()) of.more = scale(subtract(of.cond, skipped), parts_.guidance.skip.scale);
  if (turns() != nullptr) {
    for (const PredictionTerm& term : turns()->predictions()) {
      const Tensor more = scale(subtract(of.cond, part(term.branch)), term.scale(at.step, at.timestep));
      of.more = of.more.defined() ? add(of.more, more) : more;
    }
  }
  return guide(of, parts_.guidance);
}

Tensor GuidedNetwork::after(const Evaluation& at, const Tensor& x) {
  if (turns() == nullptr || !at.ends_step) return x;
  control_.passed(at.step);
  Tensor state = x;
  const auto members = static_cast<int>(parts_.members.size());
  for (const auto& hook : turns()->hooks().after_step)
    state = hook({.step = at.step, .steps = at.steps, .latents = state, .members = members});
  return state;
}

}  // namespace heddle
