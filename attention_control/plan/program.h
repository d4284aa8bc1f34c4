// Program: what the planner made of all edits of one site, lane and run of steps, in the fixed order in which a site
// works: take, shape, temper, terms, softmax over sources, gain, sum of branches, blend, captures.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attention_control/plan/edit.h"

namespace heddle {

struct BranchProgram {
  std::string name = "base";
  bool identity = false;
  double weight = 1;
  std::vector<Weigh> weights;  // run-time factors of `weight`
  Tensor region;               // [Nq] f32 factor of the weight; undefined: 1
  std::vector<Take> takes;     // without regions; of one role either one of all tokens, or of different segments
  std::array<std::optional<Recall>, 3> recalls{};  // by Role
  std::vector<Shaping> shapes;
  double tau = 1;
  std::vector<Temper> segment_tempers;
  std::vector<Term> terms;
  std::vector<Gain> gains;
  std::vector<Extend> extends;
};

struct Program {
  std::vector<BranchProgram> branches;  // base, its variants in regions, then those that methods add
  size_t base_count = 1;                // base and its regional variants
  std::vector<Blend> blends;
  std::vector<Capture> captures;
  std::vector<Store> stores;
  std::optional<Rewrite> rewrite;
  std::vector<size_t> edits;         // which declarations it was made of: equal lists are equal programs
  std::string text;                  // canonical, one line an edit
  std::vector<std::string> phrases;  // one for each edit, with its method, for explain

  // False where lanes with this program may run as one batch.
  bool needs_own_lane() const;
  // Softmaxes evaluated by one lane for its output and its captures; a raw capture takes a plain one beside them.
  int calls() const;
  bool reads_raw() const;
};

enum class Tier : uint8_t { plain, fused, reference };
std::string_view name_of(Tier tier);
// Why a program cannot run on a tier; empty where it can. A null program is the plain one.
std::vector<std::string> why_not(Tier tier, const Program* program);
Tier tier_of(const Program* program);

}  // namespace heddle
