// What a compiled plan answers while a run goes on.
#include <algorithm>

#include "attention_control/plan/branches.h"
#include "attention_control/plan/planner.h"

namespace heddle {

std::string CompiledPlan::lane_name(Branch branch, int member) const {
  const std::string& name = run_.members[static_cast<size_t>(member)].name;
  return (name.empty() ? "" : name + ".") + name_of(branch);
}

const Program* CompiledPlan::program(int site, const Lane& lane, const Moment& moment) const {
  const auto found = by_site_.find({site, static_cast<int>(moment.pass)});
  if (found == by_site_.end()) return nullptr;
  for (const size_t i : found->second) {
    const Section& s = sections_[i];
    if (s.branch == lane.branch && s.member == lane.member && s.steps.contains(moment.step)) return s.program.get();
  }
  return nullptr;
}

const CompiledPlan::LayerSection* CompiledPlan::layer(int site, const Moment& moment) const {
  const auto found = layers_by_site_.find({site, static_cast<int>(moment.pass)});
  if (found == layers_by_site_.end()) return nullptr;
  for (const size_t i : found->second) {
    if (layers_[i].steps.contains(moment.step)) return &layers_[i];
  }
  return nullptr;
}

int CompiledPlan::last_capture(const Moment& moment) const {
  int last = -1;
  for (const Section& s : sections_) {
    if (s.pass == moment.pass && s.steps.contains(moment.step) && !s.program->captures.empty())
      last = std::max(last, s.site);
  }
  return last;
}

bool CompiledPlan::guides_at(int step) const {
  return std::ranges::any_of(hooks_.guides, [&](const Guide& guide) { return guide.steps.contains(step); });
}

std::vector<Branch> CompiledPlan::branches_at(int step) const {
  return branches_in(run_, predictions_, drop_guidance_, {step, step + 1});
}

bool CompiledPlan::stores_at(int step) const {
  return std::ranges::any_of(sections_, [&](const Section& s) {
    return s.pass == Pass::invert && s.steps.contains(step) && !s.program->stores.empty();
  });
}

bool CompiledPlan::reuses_after(int step, const std::string& slot, int site) const {
  return std::ranges::any_of(layers_, [&](const LayerSection& s) {
    if (s.site != site || s.steps.end <= step + 1) return false;
    return (s.reuse && s.reuse->slot == slot) || std::ranges::find(s.left_out, slot, &Reuse::slot) != s.left_out.end();
  });
}

std::string CompiledPlan::fingerprint() const {
  std::string text;
  for (const Section& s : sections_) {
    text += run_.sites[static_cast<size_t>(s.site)].name + " " + lane_name(s.branch, s.member) + " " +
            std::to_string(static_cast<int>(s.pass)) + " " + std::to_string(s.steps.begin) + "-" +
            std::to_string(s.steps.end) + "\n" + s.program->text;
  }
  for (const LayerSection& s : layers_) {
    text += run_.sites[static_cast<size_t>(s.site)].name + " " + std::to_string(static_cast<int>(s.pass)) + " " +
            std::to_string(s.steps.begin) + "-" + std::to_string(s.steps.end);
    for (const std::string& phrase : s.phrases) text += " | " + phrase;
    text += "\n";
  }
  for (const SharedNorms& s : shared_norms_)
    text += "group norms " + std::to_string(s.member) + " with " + std::to_string(s.with) + "\n";
  return text;
}

}  // namespace heddle
