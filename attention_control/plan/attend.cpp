// Checks the site's statement against the tensors, finds the lanes' programs, and runs what they ask for.
#include "attention_control/plan/attend.h"

#include <algorithm>

#include "attention_control/plan/execute.h"
#include "attention_control/plan/left_out.h"
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

const CompiledPlan::LayerSection* layer_at(const AttentionSite& site, const AttentionContext& context) {
  return context.plan != nullptr ? context.plan->layer(site.depth, context.moment) : nullptr;
}

std::vector<Group> programs_at(const AttentionSite& site, const AttentionContext& context) {
  if (context.plan == nullptr) return {};
  std::vector<Group> groups = groups_of(*context.plan, site, context);
  const bool edited = std::ranges::any_of(groups, [](const Group& g) { return g.program != nullptr; });
  return edited ? groups : std::vector<Group>{};
}

// All tokens of the site, edited where there are programs.
Tensor attend_all(const SiteTensors& all, const std::vector<Group>& programs) {
  const Tensor q = all.rotary.defined() ? rotate(all.q, all.rotary) : all.q;
  const Tensor k = all.rotary.defined() ? rotate(all.k, all.rotary) : all.k;
  const SiteCall call{all.site, all.tokens, q, k, all.v, all.context, {all.q, all.k, all.rotary}};
  if (const auto* layer = layer_at(all.site, all.context)) keep_segments(*layer, call);
  if (!programs.empty()) return planned(call, programs);
  return attention(q, k, all.v, {.scale = all.site.scale, .causal = all.site.causal, .terms = all.tokens.terms}).out;
}

}  // namespace

Tensor attend(const AttentionSite& site, const SiteTokens& tokens, const Tensor& q, const Tensor& k, const Tensor& v,
              AttentionContext& context, const Rotary& rotary) {
  const SiteTensors given{site, tokens, q, k, v, context, rotary};
  const CompiledPlan::LayerSection* layer = layer_at(site, context);
  Tensor out;
  if (layer == nullptr || layer->left_out.empty()) {
    check(site, tokens, q, k, context.lanes);
    out = attend_all(given, programs_at(site, context));
  } else {
    const LeftOut left_out(layer->left_out, given);
    check(site, left_out.tokens(), q, k, context.lanes);
    // Edits are made for all tokens of a site. Where the others' part of the softmax is held there are none.
    const std::vector<Group> programs = holds_part(layer->left_out) ? std::vector<Group>{} : programs_at(site, context);
    out = programs.empty() ? left_out.attend() : left_out.cut(attend_all(left_out.filled(), programs));
  }
  if (context.stop_after == site.depth && context.plan != nullptr) throw StopEvaluation{};
  return out;
}

bool needs(const AttentionSite& site, std::string_view segment, const AttentionContext& context) {
  const CompiledPlan::LayerSection* layer = layer_at(site, context);
  return layer == nullptr ||
         std::ranges::none_of(layer->left_out, [&](const Reuse& reuse) { return reuse.segment == segment; });
}

Tensor attend_layer(const AttentionSite& site, const Tensor& residual, AttentionContext& context,
                    const std::function<Tensor(const Tensor& residual)>& compute) {
  const CompiledPlan::LayerSection* layer = layer_at(site, context);
  if (layer == nullptr) return compute(residual);
  const auto after = [&](const Tensor& out) { return residual.defined() ? add(residual, out) : out; };
  if (layer->reuse) return after(context.bank->at(layer->reuse->slot, site.depth).front());
  const bool keeps = std::ranges::any_of(layer->keeps, [](const Keep& keep) { return keep.held == Held::result; });
  if (!keeps) return compute(residual);
  const Tensor out = compute({});
  for (const Keep& keep : layer->keeps) {
    if (keep.held == Held::result) put(keep, {out}, site, context);
  }
  return after(out);
}

}  // namespace heddle
