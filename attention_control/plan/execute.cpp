// Around the softmax: take, shape, gain before; the sum of branches and captures after.
#include "attention_control/plan/execute.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention_control/plan/planner.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

const Captures no_captures;

Tensor rows(const Tensor& x, const Lane& lane) {
  return lane.begin == 0 && lane.end == x.dim(0) ? x : slice(x, 0, lane.begin, lane.end);
}

// [1|R,Nq] as a factor of [R,Nq,H,D].
Tensor over_queries(const Tensor& w, DType dtype) {
  const Tensor rows = w.rank() == 1 ? reshape(w, {1, w.dim(0)}) : w;
  return to(reshape(rows, {rows.dim(0), rows.dim(1), 1, 1}), dtype);
}

Tensor with_gains(const Tensor& v, const std::vector<Gain>& gains) {
  Tensor out = v;
  for (const Gain& gain : gains) {
    const Tensor g = gain.factors.rank() == 1 ? reshape(gain.factors, {1, gain.factors.dim(0)}) : gain.factors;
    out = multiply(out, to(reshape(g, {g.dim(0), g.dim(1), 1, 1}), v.dtype()));
  }
  return out;
}

// The weight of a branch as one constant and a factor for each query (undefined: none).
std::pair<double, Tensor> weight_of(const BranchProgram& branch, const LaneRun& lane) {
  Tensor factor = branch.region.defined() ? reshape(branch.region, {1, branch.region.count()}) : Tensor();
  for (const Weigh& w : branch.weights) {
    const Tensor one = w.at_run_time(lane.place());
    factor = factor.defined() ? multiply(factor, one) : one;
  }
  return {branch.weight, factor};
}

Tensor weighed(const Tensor& out, const std::pair<double, Tensor>& weight) {
  Tensor result = weight.first == 1 ? out : scale(out, weight.first);
  return weight.second.defined() ? multiply(result, over_queries(weight.second, out.dtype())) : result;
}

class ProgramRun {
 public:
  ProgramRun(const Program& program, const SiteCall& call, const Lane& lane)
      : program_(program), call_(call), lane_(lane), run_(call, lane) {
    const CompiledPlan* plan = call.context.plan;
    reference_ = tier_of(&program) == Tier::reference || (plan != nullptr && plan->least == Tier::reference);
  }

  Tensor operator()() {
    store();
    read_raw();
    Tensor out;
    for (size_t i = 0; i < program_.branches.size(); ++i) {
      const BranchProgram& branch = program_.branches[i];
      const auto weight = weight_of(branch, run_);
      const bool read = i < program_.base_count && reads_columns();
      if (weight.first == 0 && !read) continue;
      const Tensor one = weighed(output(branch, read), weight);
      if (weight.first != 0) out = out.defined() ? add(out, one) : one;
    }
    publish();
    if (!out.defined()) {
      Shape shape = run_.of(Role::q, {}).shape();
      shape[3] = call_.v.dim(3);
      out = Tensor::zeros(shape, call_.q.dtype());
    }
    return out;
  }

 private:
  bool reads_columns() const {
    return std::ranges::any_of(program_.captures, [](const Capture& c) { return !c.raw; });
  }

  Softmaxed softmax(const BranchProgram& branch) const {
    return reference_ ? reference_softmax(branch, run_, program_.rewrite ? &*program_.rewrite : nullptr)
                      : fused_softmax(branch, run_);
  }

  Tensor output(const BranchProgram& branch, bool read) {
    if (branch.identity) return prepare(branch, run_).v;
    const Softmaxed done = softmax(branch);
    if (read) {
      for (const Capture& capture : program_.captures) {
        if (!capture.raw) collect(capture, done, branch.region);
      }
    }
    return done.out;
  }

  // The map of base and its variants in regions: each counts where its region is.
  void collect(const Capture& capture, const Softmaxed& done, const Tensor& region) {
    Tensor columns = done.columns(capture);
    if (region.defined()) {
      const Shape shape = capture.mean_over_heads ? Shape{1, region.count(), 1} : Shape{1, 1, region.count(), 1};
      columns = multiply(columns, reshape(region, shape));
    }
    Tensor& total = read_[&capture];
    total = total.defined() ? add(total, columns) : columns;
  }

  void store() const {
    const Moment& now = call_.context.moment;
    for (const Store& s : program_.stores) {
      Tensor x = run_.plain(s.role, {}).detach();
      if (!s.tokens.empty()) x = gather(x, 1, s.tokens);
      call_.context.bank->store({s.slot, call_.site.depth, s.role, now.step, now.stage}, contiguous(to(x, s.dtype)));
    }
  }

  // Raw maps come first: run-time terms of this very site may look at them.
  void read_raw() {
    if (!program_.reads_raw()) return;
    const Softmaxed plain = reference_ ? reference_softmax({}, run_, nullptr) : fused_softmax({}, run_);
    for (const Capture& capture : program_.captures) {
      if (capture.raw) publish(capture, plain.columns(capture));
    }
  }

  void publish() {
    for (const Capture& capture : program_.captures) {
      if (!capture.raw) publish(capture, read_.at(&capture));
    }
  }

  void publish(const Capture& capture, const Tensor& values) {
    if (call_.context.captures != nullptr)
      call_.context.captures->add(capture.name, {call_.site, call_.tokens, lane_, capture.keys, values});
  }

  const Program& program_;
  const SiteCall& call_;
  const Lane& lane_;
  LaneRun run_;
  bool reference_ = false;
  std::map<const Capture*, Tensor> read_;
};

}  // namespace

LaneRun::LaneRun(const SiteCall& call, const Lane& lane)
    : call_(call),
      lane_(lane),
      place_{call.site, call.tokens, lane_, call.context.moment,
             call.context.captures != nullptr ? *call.context.captures : no_captures} {}

std::vector<ScoreTerm> network_terms(const SiteCall& call, const Lane& lane) {
  std::vector<ScoreTerm> terms = call.tokens.terms;
  for (ScoreTerm& term : terms) {
    if (term.key_class.defined() && term.key_class.dim(0) > 1) term.key_class = rows(term.key_class, lane);
    if (term.rows.dim(0) > 1) term.rows = rows(term.rows, lane);
  }
  return terms;
}

Tensor LaneRun::of(Role role, const LaneRef& ref) const {
  return rows_of(role == Role::q ? call_.q : role == Role::k ? call_.k : call_.v, ref);
}

Tensor LaneRun::plain(Role role, const LaneRef& ref) const {
  return rows_of(role == Role::q ? call_.plain.q : role == Role::k ? call_.plain.k : call_.v, ref);
}

const Lane& LaneRun::lane_at(const LaneRef& ref) const {
  if (ref.own()) return lane_;
  const Lane* other = find_lane(call_.context.lanes, ref, lane_);
  if (other == nullptr || other->rows() != lane_.rows()) {
    fail(ErrorCode::internal, "attend " + call_.site.name,
         "the other lane that " + lane_.name + " reads, with as many rows",
         other == nullptr ? "no such lane in this evaluation" : std::to_string(other->rows()) + " rows");
  }
  return *other;
}

Tensor LaneRun::rows_of(const Tensor& x, const LaneRef& ref) const {
  return rows(x, lane_at(ref));
}

Tensor LaneRun::map(const LaneRef& ref) const {
  return reference_map(LaneRun(call_, lane_at(ref)));
}

namespace {

// The rows of a lane from what was stored: one for all, or one for each picture.
Tensor stored_rows(const Tensor& stored, const Lane& lane) {
  if (stored.dim(0) == 1) return lane.rows() == 1 ? stored : repeat(stored, 0, lane.rows());
  return slice(stored, 0, lane.picture, lane.picture + lane.rows());
}

Tensor recalled(const Tensor& own, const Recall& recall, const LaneRun& lane) {
  const SiteCall& call = lane.call();
  const Moment& now = call.context.moment;
  const Tensor* stored = call.context.bank->find({recall.slot, call.site.depth, recall.role, now.step, now.stage});
  if (stored == nullptr) return own;
  const bool all = recall.tokens.empty();
  const Tensor mine = all ? own : gather(own, 1, recall.tokens);
  if (stored->dim(1) != mine.dim(1)) {
    fail(ErrorCode::internal, "attention " + call.site.name,
         std::to_string(mine.dim(1)) + " tokens, as many as the run has",
         std::to_string(stored->dim(1)) + " stored in the inversion");
  }
  const Tensor theirs = to(stored_rows(*stored, lane.place().lane), own.dtype());
  const double w = recall.weight;
  const Tensor mixed = w == 1 && !recall.add ? theirs : weighted_sum(recall.add ? 1 : 1 - w, mine, w, theirs);
  if (all) return mixed;
  std::vector<int64_t> order(static_cast<size_t>(own.dim(1)));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = 0; i < recall.tokens.size(); ++i)
    order[static_cast<size_t>(recall.tokens[i])] = own.dim(1) + static_cast<int64_t>(i);
  return gather(concat({own, mixed}, 1), 1, order);
}

// What a role is after the branch's takes, before rotary positions or after.
Tensor taken(const BranchProgram& branch, Role role, const LaneRun& lane, bool plain) {
  const auto of = [&](const LaneRef& ref) { return plain ? lane.plain(role, ref) : lane.of(role, ref); };
  const SiteTokens& tokens = lane.call().tokens;
  const TokenLayout& layout = role == Role::q ? tokens.query : tokens.key;
  Tensor x = of({});
  for (const Take& take : branch.takes) {
    if (take.role != role) continue;
    const TokenRange range = range_of(layout, take.segment);
    x = take.segment.empty() ? of(take.lane)
                             : with_slice(x, 1, range.begin, slice(of(take.lane), 1, range.begin, range.end));
  }
  return x;
}

// Take, then shape: what is asked for before rotary positions, then them, then the rest.
Tensor shaped(const BranchProgram& branch, Role role, const LaneRun& lane) {
  const auto apply = [&](Tensor x, bool plain) {
    for (const Shaping& shape : branch.shapes) {
      if (shape.role == role && shape.plain == plain) x = shape.function.apply(x, lane);
    }
    return x;
  };
  Rotary rotary = lane.call().plain.rotary;
  const bool turned = rotary.defined() && role != Role::v;
  const std::optional<Recall>& recall = branch.recalls[static_cast<size_t>(role)];
  bool before =
      recall || std::ranges::any_of(branch.shapes, [&](const Shaping& s) { return s.role == role && s.plain; });
  for (const Take& take : branch.takes) {
    if (!turned || take.role != role || take.places == KeyPlaces::own) continue;
    rotary = with_placed(rotary, lane.call().tokens.key, take.segment, take.places);
    before = true;
  }
  if (!before) return apply(taken(branch, role, lane, false), false);
  const Tensor theirs = taken(branch, role, lane, true);
  const Tensor plain = apply(recall ? recalled(theirs, *recall, lane) : theirs, true);
  return apply(turned ? rotate(plain, rotary) : plain, false);
}

// Keys and values of another lane, with terms over them.
BranchInputs::Source source_of(const Extend& extend, const LaneRun& lane) {
  const SiteCall& call = lane.call();
  const auto part = [&](const Tensor& x) {
    const TokenRange range = range_of(call.tokens.key, extend.segment);
    return extend.segment.empty() ? x : slice(x, 1, range.begin, range.end);
  };
  SiteTokens tokens{call.tokens.query, call.tokens.key};
  if (!extend.segment.empty())
    std::erase_if(tokens.key, [&](const TokenSegment& s) { return s.name != extend.segment; });
  const TermPlace& here = lane.place();
  const TermPlace place{here.site, tokens, here.lane, here.moment, here.captures};
  const bool moved = call.plain.rotary.defined() && extend.places != KeyPlaces::own;
  const Tensor k = moved ? rotate(part(lane.plain(Role::k, extend.lane)),
                                  placed(call.plain.rotary, call.tokens.key, extend.segment, extend.places))
                         : part(lane.of(Role::k, extend.lane));
  return {.k = extend.key_scale == 1 ? k : scale(k, extend.key_scale),
          .v = part(lane.of(Role::v, extend.lane)),
          .terms = lower(extend.terms, place),
          .log_gain = extend.log_gain};
}

}  // namespace

BranchInputs prepare(const BranchProgram& branch, const LaneRun& lane) {
  const AttentionSite& site = lane.call().site;
  std::array<Tensor, 3> qkv;
  for (const Role role : {Role::q, Role::k, Role::v}) qkv[static_cast<size_t>(role)] = shaped(branch, role, lane);
  const double base = site.scale != 0 ? site.scale : 1.0 / std::sqrt(static_cast<double>(qkv[0].dim(3)));
  BranchInputs in{.q = qkv[0],
                  .k = qkv[1],
                  .v = with_gains(qkv[2], branch.gains),
                  .scale = base / branch.tau,
                  .terms = lower(branch.terms, lane.place()),
                  .sources = {}};
  const auto allows = [](const std::vector<Term>& terms) {
    return std::ranges::any_of(terms, [](const Term& t) { return t.empty_rows_are_zero; });
  };
  for (ScoreTerm& term : network_terms(lane.call(), lane.place().lane)) in.terms.push_back(std::move(term));
  in.empty_rows_are_zero = allows(branch.terms);
  for (const Extend& extend : branch.extends) {
    in.empty_rows_are_zero = in.empty_rows_are_zero || allows(extend.terms);
    in.sources.push_back(source_of(extend, lane));
  }
  return in;
}

void check_rows(const BranchInputs& in, const Tensor& lse, const std::string& site) {
  const bool masked =
      !in.terms.empty() || std::ranges::any_of(in.sources, [](const auto& s) { return !s.terms.empty(); });
  if (!masked || in.empty_rows_are_zero) return;
  const Tensor dense = contiguous(lse);
  const std::span<const float> values(dense.data<float>(), static_cast<size_t>(dense.count()));
  if (std::ranges::find(values, -std::numeric_limits<float>::infinity()) != values.end())
    fail(ErrorCode::usage, "attention " + site, "a mask that leaves each query a key", "queries without any");
}

SegmentFactors segment_factors(const BranchProgram& branch, const std::string& query, const std::string& key) {
  SegmentFactors out;
  for (const Temper& t : branch.segment_tempers) {
    if ((!t.query.empty() && t.query != query) || (!t.key.empty() && t.key != key)) continue;
    out.scores /= t.tau;
    if (!t.keep_mass) out.mass /= t.tau;
  }
  return out;
}

Tensor run_program(const Program& program, const SiteCall& call, const Lane& lane) {
  return ProgramRun(program, call, lane)();
}

}  // namespace heddle
