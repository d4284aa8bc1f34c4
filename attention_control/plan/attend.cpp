// Checks the site's statement against the tensors, finds the lanes' programs, and runs what they ask for.
#include "attention_control/plan/attend.h"

#include <algorithm>

#include "attention_control/plan/execute.h"
#include "attention_control/plan/planner.h"
#include "kernels/core/error.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void check(const AttentionSite& site, const SiteTokens& tokens, const Tensor& q, const Tensor& k,
           const std::vector<Lane>& lanes) {
  const Shape queries{q.dim(0), token_count(tokens.query), site.heads, site.head_dim};
  const Shape keys{q.dim(0), token_count(tokens.key), site.heads, site.head_dim};
  if (!(q.shape() == queries) || !(k.shape() == keys)) {
    fail(ErrorCode::internal, "attend " + site.name, "q " + queries.text() + " and k " + keys.text(),
         q.shape().text() + " and " + k.shape().text());
  }
  for (const Lane& lane : lanes) {
    if (lane.begin < 0 || lane.end > q.dim(0) || lane.begin > lane.end)
      fail(ErrorCode::internal, "attend " + site.name, "lanes inside the batch", "lane " + lane.name);
  }
}

// Neighbouring lanes that run as one batch.
struct Group {
  Lane lane;
  const Program* program = nullptr;
};

std::vector<Group> groups_of(const CompiledPlan& plan, const AttentionSite& site, const AttentionContext& context) {
  std::vector<Group> out;
  for (const Lane& lane : context.lanes) {
    const Program* program = plan.program(site.depth, lane, context.moment);
    const bool joins = !out.empty() && out.back().lane.end == lane.begin &&
                       (program == nullptr ? out.back().program == nullptr
                                           : out.back().program != nullptr && !program->needs_own_lane() &&
                                                 out.back().program->edits == program->edits);
    if (joins) {
      out.back().lane.end = lane.end;
    } else {
      out.push_back({lane, program});
    }
  }
  return out;
}

Tensor plain(const SiteCall& call, const Lane& lane) {
  const auto rows = [&](const Tensor& x) { return slice(x, 0, lane.begin, lane.end); };
  return attention(rows(call.q), rows(call.k), rows(call.v),
                   {.scale = call.site.scale, .causal = call.site.causal, .terms = network_terms(call, lane)})
      .out;
}

// Outputs moved towards those of other lanes; all are read as they were before any blend.
void blend(const std::vector<Group>& groups, const AttentionContext& context, std::vector<Tensor>& outs) {
  const std::vector<Tensor> before = outs;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].program == nullptr) continue;
    for (const Blend& b : groups[i].program->blends) {
      const Lane* other = find_lane(context.lanes, b.lane, groups[i].lane);
      const auto holds = [&](const Group& g) {
        return other != nullptr && g.lane.begin <= other->begin && other->end <= g.lane.end;
      };
      const auto found = std::ranges::find_if(groups, holds);
      if (found == groups.end())
        fail(ErrorCode::internal, "blend", "the other lane in this evaluation", groups[i].lane.name + " alone");
      const Tensor& all = before[static_cast<size_t>(found - groups.begin())];
      const Tensor theirs = slice(all, 0, other->begin - found->lane.begin, other->end - found->lane.begin);
      Tensor change = scale(subtract(theirs, outs[i]), b.weight);
      if (b.region.defined())
        change = multiply(change, to(reshape(b.region, {1, b.region.count(), 1, 1}), change.dtype()));
      outs[i] = add(outs[i], change);
    }
  }
}

Tensor planned(const SiteCall& call, const std::vector<Group>& groups) {
  std::vector<Tensor> outs;
  for (const Group& group : groups)
    outs.push_back(group.program == nullptr ? plain(call, group.lane) : run_program(*group.program, call, group.lane));
  blend(groups, call.context, outs);
  return outs.size() == 1 ? outs[0] : concat(outs, 0);
}

}  // namespace

Tensor attend(const AttentionSite& site, const SiteTokens& tokens, const Tensor& plain_q, const Tensor& plain_k,
              const Tensor& v, AttentionContext& context, const Rotary& rotary) {
  check(site, tokens, plain_q, plain_k, context.lanes);
  const Tensor q = rotary.defined() ? rotate(plain_q, rotary) : plain_q;
  const Tensor k = rotary.defined() ? rotate(plain_k, rotary) : plain_k;
  const auto groups = context.plan != nullptr ? groups_of(*context.plan, site, context) : std::vector<Group>{};
  const bool edited = std::ranges::any_of(groups, [](const Group& g) { return g.program != nullptr; });
  const Tensor out = edited
                         ? planned({site, tokens, q, k, v, context, {plain_q, plain_k, rotary}}, groups)
                         : attention(q, k, v, {.scale = site.scale, .causal = site.causal, .terms = tokens.terms}).out;
  if (context.stop_after == site.depth && context.plan != nullptr) throw StopEvaluation{};
  return out;
}

Tensor attend_layer(const AttentionSite& site, const Tensor& residual, AttentionContext& context,
                    const std::function<Tensor(const Tensor& residual)>& compute) {
  const CompiledPlan::LayerSection* layer =
      context.plan != nullptr ? context.plan->layer(site.depth, context.moment) : nullptr;
  if (layer == nullptr) return compute(residual);
  const auto after = [&](const Tensor& out) { return residual.defined() ? add(residual, out) : out; };
  if (layer->reuse) return after(context.bank->at(layer->reuse->slot, site.depth));
  const Tensor out = compute({});
  for (const Keep& keep : layer->keeps)
    context.bank->put(keep.slot, site.depth, keep.combine ? keep.combine(out, context.lanes).detach() : out.detach());
  return after(out);
}

}  // namespace heddle
