// GuidedNetwork: a denoiser as a solver meets it in a run: rows for each branch of guidance and each member, methods'
// plans and turns, guidance put together.
#pragma once

#include <vector>

#include "pipelines/control.h"
#include "pipelines/guidance.h"
#include "pipelines/guide.h"
#include "samplers/sampler.h"
#include "unet_dit/denoiser.h"

namespace heddle {

class GuidedNetwork {
 public:
  struct Parts {
    const Denoiser& network;
    const Schedule& schedule;
    Guidance guidance;
    Conditioning cond, uncond;  // one row a picture, member after member
    std::vector<Member> members;
    int64_t pictures = 1;           // rows of each member
    int64_t height = 0, width = 0;  // of the latents
    int begin = 0;                  // the evaluation that the run begins with
    // invert: a source beside the run that `control` was compiled for; methods see it in that pass alone, without
    // turns.
    Pass pass = Pass::denoise;
    SourceShape source = {};  // of the run's inversion
  };
  // Compiles the plan of `control`, which must outlive this, but for a source. Error(usage) as the planner says.
  GuidedNetwork(Parts parts, Control& control);

  // Mask and masked picture [n,*,h,w] that networks with nine input channels see beside the latents.
  void set_extra_channels(const Tensor& channels) { extra_channels_ = channels; }

  // The turns of a step: what the methods make of x [n,C,h,w] before, the guided prediction, the methods again.
  Tensor before(const Evaluation& at, const Tensor& x);
  Tensor predict(const Tensor& x, const Evaluation& at);
  Tensor after(const Evaluation& at, const Tensor& x);

  const std::vector<GuideRecord>& losses() const { return losses_; }

 private:
  const CompiledPlan* turns() const;
  std::vector<Branch> branches_at(int step) const;
  Tensor evaluate(const Tensor& x, const Evaluation& at, const Conditioning& conditioning,
                  AttentionContext& context) const;
  Tensor without_blocks(const Tensor& rows, const Evaluation& at) const;
  Tensor guided(const Tensor& prediction, const std::vector<Branch>& branches, const Evaluation& at,
                const Tensor& skipped) const;

  Parts parts_;
  Control& control_;
  std::vector<Branch> branches_;  // in the order of rows
  Tensor extra_channels_;
  std::vector<GuideRecord> losses_;
};

}  // namespace heddle
