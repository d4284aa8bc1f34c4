// Control: the methods that a preset asks for, the plan they compile to, and what they keep during a run.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/planner.h"
#include "attention_control/plugins/registry.h"
#include "io/preset.h"
#include "pipelines/model.h"

namespace heddle {

class Control {
 public:
  // Makes the methods. Error(usage) as their parameters say, or where two bring prompts of their own.
  explicit Control(const Preset& preset);

  // The prompts that a method brings; a preset's own, where given too, must be the same.
  const std::optional<MethodPrompts>& prompts() const { return prompts_; }

  // Asks every method and resolves what they declare. Error(usage) as the planner says.
  const CompiledPlan& compile(const RunShape& run);

  // Null before compile() and where nothing was asked for.
  const CompiledPlan* plan() const { return methods_.empty() ? nullptr : plan_.get(); }

  // A context for one evaluation; captures of the one before are let go.
  AttentionContext context(const Moment& moment, const std::vector<Lane>& lanes);
  const Captures& captures() const { return captures_; }
  // Lets go of what no step behind this one reads: projections that an inversion stored, results that were kept.
  void passed(int step);

  // A method of the pipeline itself (maps to save), declared after those of the preset.
  void add(AskedMethod method) { methods_.push_back(std::move(method)); }

 private:
  std::vector<AskedMethod> methods_;
  std::optional<MethodPrompts> prompts_;
  std::unique_ptr<CompiledPlan> plan_;
  Captures captures_;
  Bank bank_;
};

// The members of a run, their prompts cut into tokens; `length` text states in all.
std::vector<Member> run_members(Model& model, const Preset& preset, const std::optional<MethodPrompts>& brought,
                                int64_t length);

}  // namespace heddle
