// Running one program on the rows of one lane. Two engines compute a branch's softmax, the fused one on the kernel and
// the reference one on plain ops; everything around the softmax is shared.
#pragma once

#include <functional>
#include <vector>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/program.h"
#include "kernels/ops/attention.h"

namespace heddle {

// One attention of the network, all rows.
struct SiteCall {
  const AttentionSite& site;
  const SiteTokens& tokens;
  const Tensor &q, &k, &v;  // [B,N,H,D] as the kernel sees them
  AttentionContext& context;
  struct Plain {  // before rotary positions; where there are none, q and k again
    const Tensor &q, &k;
    const Rotary& rotary;
  } plain;
};

// SiteTokens::terms for the rows of one lane.
std::vector<ScoreTerm> network_terms(const SiteCall& call, const Lane& lane);

// The rows of one lane in a call.
class LaneRun final : public LaneTensors {
 public:
  LaneRun(const SiteCall& call, const Lane& lane);
  Tensor of(Role role, const LaneRef& lane) const override;
  Tensor plain(Role role, const LaneRef& lane) const override;
  Tensor map(const LaneRef& lane) const override;
  const TermPlace& place() const override { return place_; }
  const SiteCall& call() const { return call_; }

 private:
  const Lane& lane_at(const LaneRef& ref) const;
  Tensor rows_of(const Tensor& x, const LaneRef& lane) const;

  const SiteCall& call_;
  Lane lane_;
  TermPlace place_;
};

// q, k and v of a branch after take and shape, its terms, and the scale of each pair of segments.
struct BranchInputs {
  Tensor q, k, v;  // v with gains
  double scale = 1;
  std::vector<ScoreTerm> terms;
  struct Source {
    Tensor k, v;
    std::vector<ScoreTerm> terms;
    double log_gain = 0;
  };
  std::vector<Source> sources;  // further keys and values
  bool empty_rows_are_zero = false;
};
BranchInputs prepare(const BranchProgram& branch, const LaneRun& lane);
// Error(usage) for queries without any key, unless a term allows them.
void check_rows(const BranchInputs& in, const Tensor& lse, const std::string& site);
// Factors on the scores between two segments, from the tempers that name segments: of all of them, and of those that
// change how much the keys weigh together.
struct SegmentFactors {
  double scores = 1, mass = 1;
  bool operator==(const SegmentFactors&) const = default;
};
SegmentFactors segment_factors(const BranchProgram& branch, const std::string& query, const std::string& key);

struct Softmaxed {
  Tensor out;  // [R,Nq,H,Dv]
  // Probabilities of the site's own keys before gains, as a capture asks for them: [R,Nq,T] or [R,H,Nq,T].
  std::function<Tensor(const Capture& capture)> columns;
};
Softmaxed fused_softmax(const BranchProgram& branch, const LaneRun& lane);
Softmaxed reference_softmax(const BranchProgram& branch, const LaneRun& lane, const Rewrite* rewrite);
Tensor reference_map(const LaneRun& lane);  // unedited

// [R,Nq,H,Dv]; captures go to the call's context. Blends read other lanes' outputs and come after.
Tensor run_program(const Program& program, const SiteCall& call, const Lane& lane);

}  // namespace heddle
