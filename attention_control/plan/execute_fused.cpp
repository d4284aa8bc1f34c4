// A branch's softmax on the kernel: one call for each source and each pair of segments with a temperature of its own,
// merged by log-sum-exp; columns by a second pass from the merged log-sum-exp. Nothing of size Nq x Nk is stored.
#include <algorithm>
#include <iterator>

#include "attention_control/plan/execute.h"
#include "attention_control/plan/pick.h"
#include "kernels/ops/attention_columns.h"
#include "kernels/ops/attention_merge.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

struct Range : TokenRange {
  SegmentFactors factors = {};  // on the scale, for ranges of keys
};

// The keys of one softmax in runs of equal factor, and the queries that share them.
struct QueryGroup {
  Range queries;
  std::vector<Range> keys;
};

std::vector<QueryGroup> groups(const BranchProgram& branch, const SiteTokens& tokens) {
  const int64_t queries = token_count(tokens.query), keys = token_count(tokens.key);
  if (branch.segment_tempers.empty()) return {{{0, queries}, {{0, keys}}}};
  std::vector<QueryGroup> out;
  int64_t q = 0;
  for (const TokenSegment& query : tokens.query) {
    QueryGroup group{{q, q + query.tokens()}, {}};
    int64_t k = 0;
    for (const TokenSegment& key : tokens.key) {
      const SegmentFactors factors = segment_factors(branch, query.name, key.name);
      const bool mass_kept = factors.mass != factors.scores;
      if (!group.keys.empty() && group.keys.back().factors == factors && !mass_kept) {
        group.keys.back().end += key.tokens();
      } else {
        group.keys.push_back({k, k + key.tokens(), factors});
      }
      k += key.tokens();
    }
    out.push_back(std::move(group));
    q += query.tokens();
  }
  return out;
}

class FusedSoftmax {
 public:
  FusedSoftmax(const BranchProgram& branch, const LaneRun& lane)
      : in_(prepare(branch, lane)),
        causal_(lane.call().site.causal),
        site_(lane.call().site.name),
        groups_(groups(branch, lane.call().tokens)) {}

  Tensor run() {
    std::vector<Tensor> outs;
    for (const QueryGroup& group : groups_) {
      shifts_.emplace_back();
      const AttentionResult done = merged(group, shifts_.back());
      check_rows(in_, done.lse, site_);
      outs.push_back(done.out);
      lse_.push_back(done.lse);
    }
    return outs.size() == 1 ? outs[0] : concat(outs, 1);
  }

  Tensor columns(const Capture& capture) const {
    std::vector<Tensor> parts;
    for (size_t g = 0; g < groups_.size(); ++g) {
      const Tensor lse = capture.within.empty() ? lse_[g] : lse_within(g, capture.within);
      parts.push_back(group_columns(g, capture, lse));
    }
    return parts.size() == 1 ? parts[0] : concat(parts, capture.mean_over_heads ? 1 : 2);
  }

 private:
  AttentionOptions options(const std::vector<ScoreTerm>& terms, const Range& queries, const Range& keys) const {
    AttentionOptions o{.scale = in_.scale * keys.factors.scores, .causal = causal_, .terms = {}};
    for (const ScoreTerm& term : terms) o.terms.push_back(part_of(term, queries, keys));
    return o;
  }

  Tensor queries_of(const Range& r) const {
    return r.begin == 0 && r.end == in_.q.dim(1) ? in_.q : slice(in_.q, 1, r.begin, r.end);
  }

  static Tensor keys_of(const Tensor& x, const Range& r) {
    return r.begin == 0 && r.end == x.dim(1) ? x : slice(x, 1, r.begin, r.end);
  }

  // Where a temperature shall not change how much a run of keys weighs, it is merged by the log-sum-exp that it has
  // without; `shifts` gets the differences, undefined for other runs.
  AttentionResult merged(const QueryGroup& group, std::vector<Tensor>& shifts) const {
    const Tensor q = queries_of(group.queries);
    std::vector<AttentionResult> parts;
    for (const Range& keys : group.keys) {
      AttentionOptions o = options(in_.terms, group.queries, keys);
      const Tensor k = keys_of(in_.k, keys);
      AttentionResult part = attention(q, k, keys_of(in_.v, keys), o);
      shifts.emplace_back();
      if (keys.factors.mass != keys.factors.scores) {
        o.scale = in_.scale * keys.factors.mass;
        const Tensor untempered = attention(q, k, k, o).lse;
        shifts.back() = subtract(part.lse, untempered);
        part.lse = untempered;
      }
      parts.push_back(part);
    }
    for (const BranchInputs::Source& source : in_.sources) {
      const Range all{0, source.k.dim(1)};
      AttentionResult one = attention(q, source.k, source.v, options(source.terms, group.queries, all));
      if (source.log_gain != 0) one.lse = add_constant(one.lse, source.log_gain);
      parts.push_back(one);
    }
    return parts.size() == 1 ? parts[0] : merge_attention(parts);
  }

  // Log-sum-exp of each query over `keys` alone: a softmax of its own, whose result nobody needs.
  Tensor lse_within(size_t g, const std::vector<int64_t>& keys) const {
    const QueryGroup& group = groups_[g];
    const Tensor q = queries_of(group.queries);
    std::vector<AttentionResult> parts;
    for (size_t r = 0; r < group.keys.size(); ++r) {
      const Range& run = group.keys[r];
      std::vector<int64_t> here;
      std::ranges::copy_if(keys, std::back_inserter(here), [&](int64_t k) { return run.begin <= k && k < run.end; });
      if (here.empty()) continue;
      AttentionOptions o{.scale = in_.scale * run.factors.scores, .causal = causal_, .terms = {}};
      for (const ScoreTerm& term : in_.terms) o.terms.push_back(part_of(term, group.queries, here));
      const Tensor k = picked(in_.k, 1, here);
      parts.push_back(attention(q, k, k, o));
      if (shifts_[g][r].defined()) parts.back().lse = subtract(parts.back().lse, shifts_[g][r]);
    }
    return parts.size() == 1 ? parts[0].lse : merge_attention(parts).lse;
  }

  // Columns of the keys that lie in each run, then brought into the order asked.
  Tensor group_columns(size_t g, const Capture& capture, const Tensor& total) const {
    const QueryGroup& group = groups_[g];
    const std::vector<int64_t>& keys = capture.keys;
    const bool mean_over_heads = capture.mean_over_heads;
    const Tensor q = queries_of(group.queries);
    std::vector<Tensor> parts;
    std::vector<int64_t> order(keys.size());
    int64_t done = 0;
    for (size_t r = 0; r < group.keys.size(); ++r) {
      const Range& run = group.keys[r];
      const Tensor lse = shifts_[g][r].defined() ? add(total, shifts_[g][r]) : total;
      Columns which{.keys = {}, .mean_over_heads = mean_over_heads};
      for (size_t i = 0; i < keys.size(); ++i) {
        if (keys[i] < run.begin || keys[i] >= run.end) continue;
        order[i] = done++;
        which.keys.push_back(keys[i] - run.begin);
      }
      if (!which.keys.empty())
        parts.push_back(attention_columns(q, keys_of(in_.k, run), lse, which, options(in_.terms, group.queries, run)));
    }
    if (parts.size() == 1) return parts[0];
    return gather(concat(parts, -1), mean_over_heads ? 2 : 3, order);
  }

  BranchInputs in_;
  bool causal_;
  std::string site_;
  std::vector<QueryGroup> groups_;
  std::vector<Tensor> lse_;                  // [R,H,Nq] of each group
  std::vector<std::vector<Tensor>> shifts_;  // of each group's runs of keys
};

}  // namespace

Softmaxed fused_softmax(const BranchProgram& branch, const LaneRun& lane) {
  auto run = std::make_shared<FusedSoftmax>(branch, lane);
  const Tensor out = run->run();
  return {out, [run](const Capture& capture) { return run->columns(capture); }};
}

}  // namespace heddle
