// PlanBuilder: where methods say what should be true of attention in a run. Nothing is computed here; the planner
// resolves what was declared.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attention_control/plan/edit.h"
#include "attention_control/plan/hooks.h"
#include "attention_control/plan/shared_norms.h"
#include "attention_control/plan/words.h"

namespace heddle {

// One prompt of the run. Its lanes are called NAME.cond and NAME.uncond, or cond and uncond where there is one member.
struct Member {
  std::string name;
  PromptTokens words;
};

// The inversion of a picture that a run begins from.
struct SourceShape {
  std::vector<int> stages;  // of each step of the run, in how many stages it is evaluated; empty: there is no inversion
  int64_t pictures = 1;     // rows
};

// What is known of a run before its first step.
struct RunShape {
  std::vector<AttentionSite> sites;  // in the order of evaluation
  std::vector<SiteTokens> tokens;    // of each site, at this size and length of text
  int group_norms = 0;               // how many the network has
  std::vector<Member> members;
  bool guided = true;             // uncond lanes are evaluated,
  Steps guided_steps = {};        // in these steps
  int steps = 1;                  // of the solver
  int64_t pictures = 1;           // rows of each lane
  int64_t height = 0, width = 0;  // of the latents
  SourceShape source;
  // Of the network in each step: two of Heun's solver, none before a picture's noise. Empty: one in each.
  std::vector<int> calls = {};

  // Of the network in these steps, of those that the run has.
  int64_t calls_in(Steps some) const {
    int64_t out = 0;
    for (int i = some.begin; i < std::min(some.end, steps); ++i)
      out += calls.empty() ? 1 : calls[static_cast<size_t>(i)];
    return out;
  }
};

class PlanBuilder;

// Edits at one site; the setters narrow where they hold.
class SiteScope {
 public:
  const AttentionSite& site() const;
  const SiteTokens& tokens() const;

  SiteScope lane(Branch branch) const;
  SiteScope member(int member) const;
  SiteScope during(Steps steps) const;
  SiteScope passes(Passes passes) const;
  SiteScope on(const std::string& branch) const;  // verbs then address this branch

  const SiteScope& declare(Verb verb) const;

 private:
  friend class PlanBuilder;
  PlanBuilder* plan_ = nullptr;
  Edit edit_{};
};

// Which sites; conditions that are not given do not restrict.
struct SiteSelect {
  std::vector<AttentionKind> kinds;
  int64_t query_tokens = 0;  // exactly so many queries
  // Exactly these, those that begin with "NAME.", or shares of depth: "0.4..0.6" is the blocks from floor(0.4 n) to
  // before ceil(0.6 n) of the n that have such sites, "0.5..0.5" the middle one.
  std::vector<std::string> names;
  std::function<bool(const SiteScope&)> also = {};
  std::string text;  // for the error: "self-attention of at most 256 tokens"
};

class PlanBuilder {
 public:
  explicit PlanBuilder(const RunShape& run) : run_(run) {}

  const RunShape& run() const { return run_; }
  // Shares of the run as steps: [floor(from n), floor(to n)).
  Steps steps(double from, double to) const;

  // Error(usage) naming the sites there are where none matches.
  std::vector<SiteScope> sites(const SiteSelect& select);

  Hooks hooks;
  std::vector<PredictionTerm> predictions;
  std::vector<SharedNorms> shared_norms;
  std::optional<DropGuidance> drop_guidance;

  // Set by whoever calls a method's declare().
  void speaks(std::string method, std::string where, std::string over);
  const std::string& where() const { return where_; }
  const std::string& method() const { return method_; }
  const std::vector<Edit>& edits() const { return edits_; }

 private:
  friend class SiteScope;
  RunShape run_;
  std::string method_, where_, over_;
  std::vector<Edit> edits_;
};

// Prompts that a method brings itself, one member each; the first is the source or reference.
struct MethodPrompts {
  std::vector<std::pair<std::string, std::string>> members;  // name, prompt
  bool shared_noise = false;                                 // all members begin with the same noise
  std::optional<int64_t> seed = {};                          // must be the preset's
};

// A method: what a plugin file implements. It outlives the run; its hooks may keep state in it.
class Method {
 public:
  virtual ~Method() = default;
  virtual std::optional<MethodPrompts> prompts() const { return std::nullopt; }
  virtual void declare(PlanBuilder& plan) = 0;
};

}  // namespace heddle
