// Which tier a program needs, and why.
#include "attention_control/plan/program.h"

#include <algorithm>

namespace heddle {

constexpr int most_kernel_terms = 8;

namespace {

bool recalls(const BranchProgram& branch) {
  return std::ranges::any_of(branch.recalls, [](const auto& recall) { return recall.has_value(); });
}

}  // namespace

bool Program::needs_own_lane() const {
  const auto reads = [](const BranchProgram& b) {
    // Functions and run-time terms may look at any lane; terms for each row belong to the rows of one.
    return !b.takes.empty() || !b.shapes.empty() || recalls(b) || !b.extends.empty() || !b.weights.empty() ||
           std::ranges::any_of(b.terms, [](const Term& t) { return t.at_run_time || has_rows(t.form); });
  };
  return rewrite || !blends.empty() || !captures.empty() || !stores.empty() || std::ranges::any_of(branches, reads);
}

int Program::calls() const {
  const bool read = std::ranges::any_of(captures, [](const Capture& c) { return !c.raw; });
  int count = 0;
  for (size_t i = 0; i < branches.size(); ++i) {
    const BranchProgram& b = branches[i];
    const bool runs = b.weight != 0 || (read && i < base_count);
    if (runs && !b.identity) count += 1 + static_cast<int>(b.extends.size());
  }
  return count;
}

bool Program::reads_raw() const {
  return std::ranges::any_of(captures, [](const Capture& c) { return c.raw; });
}

std::string_view name_of(Tier tier) {
  return tier == Tier::plain ? "plain" : tier == Tier::fused ? "fused" : "reference";
}

namespace {

std::vector<std::string> why_not_plain(const Program& program) {
  std::vector<std::string> reasons;
  const auto say = [&](bool holds, const char* sentence) {
    if (holds) reasons.emplace_back(sentence);
  };
  const auto any = [&](auto property) { return std::ranges::any_of(program.branches, property); };
  say(any([](const BranchProgram& b) { return !b.terms.empty(); }), "score terms present");
  say(any([](const BranchProgram& b) { return b.tau != 1 || !b.segment_tempers.empty(); }), "temperature present");
  say(any([](const BranchProgram& b) { return !b.extends.empty(); }), "extra source");
  say(any([](const BranchProgram& b) { return b.weight != 1 || !b.weights.empty(); }), "output weighed");
  say(program.branches.size() > 1, "several branches");
  say(any([](const BranchProgram& b) { return b.identity; }), "identity branch");
  say(any([](const BranchProgram& b) { return !b.shapes.empty() || recalls(b) || !b.takes.empty(); }),
      "q, k or v changed");
  say(any([](const BranchProgram& b) { return !b.gains.empty(); }), "gains present");
  say(!program.captures.empty(), "captures read columns");
  say(!program.stores.empty(), "q, k or v stored");
  say(!program.blends.empty(), "output blended");
  return reasons;
}

}  // namespace

std::vector<std::string> why_not(Tier tier, const Program* program) {
  if (program == nullptr || tier == Tier::reference) return {};
  std::vector<std::string> reasons = tier == Tier::plain ? why_not_plain(*program) : std::vector<std::string>{};
  const bool many = std::ranges::any_of(program->branches, [](const BranchProgram& b) {
    return kernel_terms(b.terms) > most_kernel_terms ||
           std::ranges::any_of(b.extends, [](const Extend& e) { return kernel_terms(e.terms) > most_kernel_terms; });
  });
  if (many) reasons.push_back("more than " + std::to_string(most_kernel_terms) + " score terms in one softmax");
  if (program->rewrite) reasons.push_back("the map is rewritten: " + program->rewrite->reason);
  return reasons;
}

Tier tier_of(const Program* program) {
  if (program == nullptr) return Tier::plain;
  return why_not(Tier::fused, program).empty() ? Tier::fused : Tier::reference;
}

}  // namespace heddle
