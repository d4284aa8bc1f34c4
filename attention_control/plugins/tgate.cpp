// T-GATE: cross-attention has converged after some steps; from the gate on its results are reused and guidance is
// dropped, and before it self-attention is reused in between. Zhang et al. 2024 and Liu et al. 2025, arXiv 2404.02747;
// the schedule of the `tgate` package. In joint attention the text's stream can be held from the gate on instead.
// Verbs: keep, reuse. The sites that are computed stay as they were.
#include <algorithm>

#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/registry.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class Anchor : uint8_t { mean, uncond, cond };
enum class Tail : uint8_t { uncond, cond };
enum class Text : uint8_t { compute, freeze, partial };

}  // namespace
template <>
struct ParamWords<Anchor> {
  static constexpr std::array words{"mean", "uncond", "cond"};
};
template <>
struct ParamWords<Tail> {
  static constexpr std::array words{"uncond", "cond"};
};
template <>
struct ParamWords<Text> {
  static constexpr std::array words{"compute", "freeze", "partial"};
};
namespace {

struct TGate final : Method {
  int gate_step = 10, warm_up = 2, fi_interval = 1;
  std::optional<int> sp_interval;
  Anchor anchor = Anchor::mean;
  bool drop_guidance = true;
  Tail tail_branch = Tail::uncond;
  bool keep_batch = false;
  Text text = Text::compute;
  std::vector<std::string> absorbs;

  static Params<TGate> params() {
    using M = TGate;
    return {
        opt("gate_step", &M::gate_step, range(1, 100000), "first step whose cross-attention is reused"),
        opt("warm_up", &M::warm_up, range(0, 100000), "steps before self-attention is first kept"),
        opt("sp_interval", &M::sp_interval, range(1, 100000),
            "before the gate self- and joint attention is computed at multiples of it; 1 always; not given: 5, of a "
            "transformer 3, since its text grows stale with it"),
        opt("fi_interval", &M::fi_interval, range(1, 100000), "the same from the gate on"),
        opt("anchor", &M::anchor, "what is kept at the gate: the mean of both branches, or one"),
        opt("drop_guidance", &M::drop_guidance, "from the gate on one branch runs and is used as it is"),
        opt("tail_branch", &M::tail_branch, "which one"),
        opt("keep_batch", &M::keep_batch, "keep results as they are; for models without guidance"),
        opt("text", &M::text,
            "the text's tokens in joint attention from the gate on: compute; freeze: left out, their keys and values "
            "are kept; partial: left out, what pixels got from them is kept"),
        opt("absorbs", &M::absorbs, "methods whose edits the kept results already carry")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  // Steps from `begin` on whose self-attention is computed or reused; true where it is computed.
  bool computes_self(int step) const {
    if (step >= gate_step) return step % fi_interval == 0;
    return step <= warm_up || step == gate_step - 1 || step % interval_ == 0;
  }
  bool thins_before() const { return interval_ > 1; }
  // Whether two branches become one at the gate.
  bool halves(const PlanBuilder& plan) const { return drop_guidance && !keep_batch && plan.run().guided; }
  Keep kept(const PlanBuilder& plan, const std::string& slot) const;
  void declare_cross(PlanBuilder& plan) const;
  void declare_text(PlanBuilder& plan) const;
  void check_text(const PlanBuilder& plan) const;
  void declare_self(PlanBuilder& plan) const;
  Tensor at_gate(const Tensor& out, const std::vector<Lane>& lanes) const;

  int interval_ = 1;  // sp_interval, or what stands for it
};

// [2n,N,C] of uncond and cond rows to the n rows that run on.
Tensor TGate::at_gate(const Tensor& out, const std::vector<Lane>& lanes) const {
  const auto rows = [&](Branch branch) {
    std::vector<Tensor> parts;
    for (const Lane& lane : lanes) {
      if (lane.branch == branch) parts.push_back(slice(out, 0, lane.begin, lane.end));
    }
    return concat(parts, 0);
  };
  if (anchor == Anchor::uncond) return rows(Branch::uncond);
  if (anchor == Anchor::cond) return rows(Branch::cond);
  return weighted_sum(0.5, rows(Branch::uncond), 0.5, rows(Branch::cond));
}

Keep TGate::kept(const PlanBuilder& plan, const std::string& slot) const {
  if (!halves(plan)) return {.slot = slot, .text = "as it is"};
  return {.slot = slot, .text = "anchor", .combine = [this](const Tensor& out, const std::vector<Lane>& lanes) {
            return at_gate(out, lanes);
          }};
}

void TGate::declare_cross(PlanBuilder& plan) const {
  for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::cross}, .names = {}, .text = "cross-attention"})) {
    site.during({gate_step - 1, gate_step}).passes({Pass::denoise}).declare(kept(plan, "cross"));
    // Guided or not: behind the gate nothing reads the text any more.
    site.during({gate_step}).passes({Pass::denoise, Pass::guide}).declare(Reuse{.slot = "cross", .absorbs = absorbs});
  }
}

// Guiding passes still see the text of their own step.
void TGate::declare_text(PlanBuilder& plan) const {
  Keep keep = kept(plan, "frozen");
  keep.held = text == Text::freeze ? Held::keys : Held::part;
  keep.segment = "text";
  const auto has_stream = [](const SiteScope& site) { return site.site().stream("text") != nullptr; };
  for (const SiteScope& site : plan.sites({.kinds = {}, .names = {}, .also = has_stream, .text = "joint attention"})) {
    site.during({gate_step - 1, gate_step}).passes({Pass::denoise}).declare(keep);
    site.during({gate_step})
        .passes({Pass::denoise})
        .declare(Reuse{.slot = keep.slot, .held = keep.held, .segment = keep.segment});
  }
}

void TGate::declare_self(PlanBuilder& plan) const {
  const int steps = plan.run().steps;
  for (const SiteScope& site : image_sites(plan)) {
    for (int step = 0; step < steps; ++step) {
      const SiteScope here = site.during({step, step + 1}).passes({Pass::denoise});
      const bool thin = step < gate_step ? thins_before() : fi_interval > 1;
      if (thin && !computes_self(step)) {
        here.declare(Reuse{.slot = "self", .absorbs = absorbs});
      } else if (step == gate_step - 1 && fi_interval > 1) {
        here.declare(kept(plan, "self"));
      } else if (thin && (step >= warm_up || step >= gate_step)) {
        here.declare(Keep{.slot = "self", .text = "as it is"});
      }
    }
  }
}

void TGate::check_text(const PlanBuilder& plan) const {
  const std::string asked = text == Text::freeze ? "freeze" : "partial";
  const auto has_stream = [](const AttentionSite& site) { return site.stream("text") != nullptr; };
  if (std::ranges::none_of(plan.run().sites, has_stream)) {
    fail(ErrorCode::usage, plan.where() + " text",
         "compute, on a network that has no stream of text tokens beside the image's", asked,
         "leaving it out: cross-attention is reused behind the gate in any case");
  }
  if (fi_interval > 1) {
    fail(ErrorCode::usage, plan.where() + " text",
         "compute with fi_interval above 1, which reuses whole layers behind the gate", asked, "fi_interval: 1");
  }
}

void TGate::declare(PlanBuilder& plan) {
  interval_ = sp_interval.value_or(is_joint(plan.run()) ? 3 : 5);
  if (text != Text::compute) check_text(plan);
  if (gate_step < plan.run().steps) {
    const auto cross = [](const AttentionSite& site) { return site.kind == AttentionKind::cross; };
    if (std::ranges::any_of(plan.run().sites, cross)) declare_cross(plan);
    if (text != Text::compute) declare_text(plan);
    if (halves(plan)) {
      plan.drop_guidance = DropGuidance{
          .method = "tgate", .step = gate_step, .tail = tail_branch == Tail::uncond ? Branch::uncond : Branch::cond};
    }
  }
  if (thins_before() || fi_interval > 1) declare_self(plan);
}

REGISTER_METHOD(tgate, TGate, "stops computing cross-attention once it has converged: the same picture in less time",
                "Zhang, Liu et al. 2024, T-GATE, arXiv 2404.02747");

}  // namespace
}  // namespace heddle
