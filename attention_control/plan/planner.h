// The planner: from all that methods declared to one program for each site, lane and run of steps, or an error that
// names both sides. Pure: the same declarations give the same plan, in whatever order commuting edits came.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention_control/plan/builder.h"
#include "attention_control/plan/program.h"

namespace heddle {

class CompiledPlan {
 public:
  // One program and where it holds.
  struct Section {
    int site = 0;
    Branch branch = Branch::cond;
    int member = 0;
    Pass pass = Pass::denoise;
    Steps steps;
    std::shared_ptr<const Program> program;
  };
  struct LayerSection {  // a layer's result, or what a segment gives, kept or reused
    int site = 0;
    Pass pass = Pass::denoise;
    Steps steps;
    std::vector<Keep> keeps;
    std::optional<Reuse> reuse;   // of the result
    std::vector<Reuse> left_out;  // of segments, each once
    std::vector<std::string> phrases;
  };

  // Null where the network's own attention runs.
  const Program* program(int site, const Lane& lane, const Moment& moment) const;
  const LayerSection* layer(int site, const Moment& moment) const;
  // Depth of the last site that a guiding evaluation has to reach; -1 where none captures.
  int last_capture(const Moment& moment) const;
  bool guides_at(int step) const;
  bool stores_at(int step) const;  // whether an inversion leaves something in the bank there

  bool reuses_after(int step, const std::string& slot, int site) const;  // whether a later step reads what is kept

  const RunShape& run() const { return run_; }
  const std::vector<Section>& sections() const { return sections_; }
  const std::vector<LayerSection>& layers() const { return layers_; }
  const Hooks& hooks() const { return hooks_; }
  const std::vector<PredictionTerm>& predictions() const { return predictions_; }
  const std::vector<SharedNorms>& shared_norms() const { return shared_norms_; }  // in the order of members
  const std::optional<DropGuidance>& drop_guidance() const { return drop_guidance_; }
  std::string lane_name(Branch branch, int member) const;
  // One text that is equal for equal plans.
  std::string fingerprint() const;

  // The branches of guidance that a denoising step evaluates.
  std::vector<Branch> branches_at(int step) const;

  // Sites with a program, or with segments left out, run on this tier at least: reference for comparisons.
  Tier least = Tier::plain;

 private:
  friend CompiledPlan compile(const PlanBuilder& declared);
  RunShape run_;
  std::vector<Section> sections_;
  std::vector<LayerSection> layers_;
  std::map<std::pair<int, int>, std::vector<size_t>> by_site_;  // (site, pass) -> sections
  std::map<std::pair<int, int>, std::vector<size_t>> layers_by_site_;
  Hooks hooks_;
  std::vector<PredictionTerm> predictions_;
  std::vector<SharedNorms> shared_norms_;
  std::optional<DropGuidance> drop_guidance_;
};

// Error(usage) for claims that exclude each other, edits on a reused layer, slots read before they are written, lanes
// and branches that do not exist.
CompiledPlan compile(const PlanBuilder& declared);

}  // namespace heddle
