// For each site, lane and pass: cut the run where an edit begins or ends, merge what holds between two cuts.
#include "attention_control/plan/planner.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "attention_control/plan/branches.h"
#include "attention_control/plan/conflicts.h"
#include "attention_control/plan/merge.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr Pass all_passes[] = {Pass::denoise, Pass::invert, Pass::guide};

bool is_layer_verb(const Edit& edit) {
  return std::holds_alternative<Keep>(edit.verb) || std::holds_alternative<Reuse>(edit.verb);
}

// An optional capture is content to read nothing there.
bool forbids_reuse(const Edit& edit) {
  const auto* capture = std::get_if<Capture>(&edit.verb);
  return !is_layer_verb(edit) && (capture == nullptr || !capture->optional);
}

// The runs of steps between which `edits` do not change.
std::vector<Steps> cuts(const std::vector<const Edit*>& edits, int steps) {
  std::set<int> at{0, steps};
  for (const Edit* edit : edits) {
    at.insert(std::clamp(edit->steps.begin, 0, steps));
    at.insert(std::clamp(edit->steps.end, 0, steps));
  }
  std::vector<Steps> out;
  for (auto it = at.begin(); std::next(it) != at.end(); ++it) out.push_back({*it, *std::next(it)});
  return out;
}

std::vector<const Edit*> holding(const std::vector<const Edit*>& edits, int step) {
  std::vector<const Edit*> out;
  for (const Edit* edit : edits) {
    if (edit->steps.contains(step)) out.push_back(edit);
  }
  return out;
}

// Sections that continue one another as one.
template <typename S, typename Same>
void append(std::vector<S>& sections, size_t from, S section, Same same) {
  if (sections.size() > from && sections.back().steps.end == section.steps.begin && same(sections.back(), section)) {
    sections.back().steps.end = section.steps.end;
  } else {
    sections.push_back(std::move(section));
  }
}

class Planner {
 public:
  Planner(const PlanBuilder& declared, std::vector<CompiledPlan::Section>& sections,
          std::vector<CompiledPlan::LayerSection>& layers)
      : declared_(declared), run_(declared.run()), sections_(sections), layers_(layers) {}

  void operator()() {
    const std::vector<Branch> branches = all_branches(run_, declared_.predictions);
    for (const Edit& edit : declared_.edits()) check_lanes(edit, run_, branches);
    check_stored(declared_.edits(), run_);
    for (int site = 0; site < static_cast<int>(run_.sites.size()); ++site) {
      for (const Pass pass : all_passes) {
        plan_layer(site, pass);
        for (const Branch branch : branches) {
          if (pass == Pass::guide && branch != Branch::cond) continue;
          for (int member = 0; member < static_cast<int>(run_.members.size()); ++member)
            plan_lane(site, pass, branch, member);
        }
      }
    }
    for (const CompiledPlan::LayerSection& section : layers_) {
      for (const Reuse& reuse : section.left_out) check_behind(section, reuse);
    }
  }

 private:
  const std::string& site_name(int site) const { return run_.sites[static_cast<size_t>(site)].name; }

  size_t number(const Edit* edit) const { return static_cast<size_t>(edit - declared_.edits().data()); }

  std::vector<NumberedEdit> numbered(const std::vector<const Edit*>& edits) const {
    std::vector<NumberedEdit> out;
    for (const Edit* edit : edits) out.push_back({number(edit), edit});
    return out;
  }

  template <typename Wanted>
  std::vector<const Edit*> edits_at(int site, Pass pass, Wanted wanted) const {
    std::vector<const Edit*> out;
    for (const Edit& edit : declared_.edits()) {
      if (edit.site == site && edit.passes.contains(pass) && !edit.steps.empty() && wanted(edit)) out.push_back(&edit);
    }
    return out;
  }

  void plan_lane(int site, Pass pass, Branch branch, int member) {
    const std::vector<const Edit*> edits =
        edits_at(site, pass, [&](const Edit& e) { return !is_layer_verb(e) && e.lanes.matches(branch, member); });
    if (edits.empty()) return;
    const size_t from = sections_.size();
    for (const Steps& steps : cuts(edits, run_.steps)) {
      const std::vector<const Edit*> now = holding(edits, steps.begin);
      if (now.empty()) continue;
      const std::string lane = lane_name_of(run_, branch, member);
      const std::string place = place_text(site_name(site), lane, steps, run_.steps);
      auto program = merge(numbered(now), place);
      if (!program) continue;
      const std::vector<Branch> present = evaluated(pass, steps);
      for (const size_t edit : program->edits) {
        if (std::ranges::find(present, branch) != present.end()) check_read(declared_.edits()[edit], present, place);
      }
      append(sections_, from, {site, branch, member, pass, steps, std::move(program)},
             [](const auto& a, const auto& b) { return a.program->edits == b.program->edits; });
    }
  }

  void plan_layer(int site, Pass pass) {
    const std::vector<const Edit*> edits = edits_at(site, pass, is_layer_verb);
    if (edits.empty()) return;
    std::vector<const Edit*> others;
    for (const NumberedEdit& e : effective(numbered(edits_at(site, pass, forbids_reuse)))) others.push_back(e.edit);
    std::vector<const Edit*> all = edits;
    all.insert(all.end(), others.begin(), others.end());
    std::set<Kind> written;
    const size_t from = layers_.size();
    for (const Steps& steps : cuts(all, run_.steps)) {
      CompiledPlan::LayerSection section{
          .site = site, .pass = pass, .steps = steps, .keeps = {}, .reuse = {}, .left_out = {}, .phrases = {}};
      const std::string place = place_text(site_name(site), "", steps, run_.steps);
      const auto [reuses, keeps] = layer_verbs(holding(edits, steps.begin));
      for (const Edit* edit : settle(reuses, "reuse the layer", place)) {
        const auto& reuse = std::get<Reuse>(edit->verb);
        for (const Edit* other : holding(others, steps.begin)) {
          if (forbids(reuse, *other, steps.begin)) refuse_on_reused(*edit, *other, place);
        }
        for (const Edit* other : keeps) refuse_on_reused(*edit, *other, place);
        if (reuse.held == Held::result) {
          section.reuse = reuse;
        } else {
          check_segment(*edit, reuse, site, pass);
          section.left_out.push_back(reuse);
        }
        if (!written.contains(kind_of(reuse)) && pass == Pass::denoise) {
          fail(ErrorCode::usage, "plan", "slot " + reuse.slot + " written before " + place, "no earlier keep",
               "later steps for " + edit->method);
        }
        section.phrases.push_back(phrase(*edit));
      }
      if (reuses.empty()) keep(keeps, place, section, written);
      if (section.phrases.empty()) continue;
      append(layers_, from, std::move(section), [](const auto& a, const auto& b) { return a.phrases == b.phrases; });
    }
  }

  // What is held in which slot.
  using Kind = std::tuple<std::string, Held, std::string>;
  template <typename Verb>
  static Kind kind_of(const Verb& verb) {
    return {verb.slot, verb.held, verb.segment};
  }

  // A layer that is not computed can have no edit; one from which a segment is left out has them all while its keys are
  // there, and none of them once they have become a part of the softmax.
  bool forbids(const Reuse& reuse, const Edit& edit, int step) const {
    const std::optional<DropGuidance>& drop = declared_.drop_guidance;
    const bool dropped = drop && drop->step <= step && edit.lanes.branch && *edit.lanes.branch != drop->tail;
    return reuse.held == Held::result || (reuse.held == Held::part && !dropped);
  }

  void check_segment(const Edit& edit, const Reuse& reuse, int site, Pass pass) const {
    const AttentionSite& at = run_.sites[static_cast<size_t>(site)];
    if (at.stream(reuse.segment) == nullptr) {
      fail(ErrorCode::usage, edit.where + " " + edit.method,
           "a site whose network can leave out its " + reuse.segment + " tokens", at.name, "sites of joint attention");
    }
    if (pass != Pass::denoise) {
      fail(ErrorCode::usage, edit.where + " " + edit.method, "segments held in denoising passes alone", "another pass");
    }
  }

  // What is left out at a site is not there behind it, where the network would need it.
  void check_behind(const CompiledPlan::LayerSection& section, const Reuse& reuse) const {
    const auto behind = std::find_if(run_.sites.begin() + section.site + 1, run_.sites.end(),
                                     [&](const AttentionSite& s) { return s.stream(reuse.segment) != nullptr; });
    if (behind == run_.sites.end()) return;
    const auto site = static_cast<int>(behind - run_.sites.begin());
    for (int step = section.steps.begin; step < section.steps.end; ++step) {
      const bool held = std::ranges::any_of(layers_, [&](const CompiledPlan::LayerSection& other) {
        return other.site == site && other.pass == section.pass && other.steps.contains(step) &&
               std::ranges::find(other.left_out, reuse.segment, &Reuse::segment) != other.left_out.end();
      });
      if (held) continue;
      fail(ErrorCode::usage, "plan",
           reuse.segment + " held at " + place_text(behind->name, "", {step, section.steps.end}, run_.steps) + ", too",
           site_name(section.site) + " before it leaves it out", "reuse at all sites behind the first");
    }
  }

  // The branches of an evaluation in all of `steps`.
  std::vector<Branch> evaluated(Pass pass, const Steps& steps) const {
    const auto guided = [&](const Guide& g) { return g.steps.begin < steps.end && steps.begin < g.steps.end; };
    if (pass == Pass::guide && std::ranges::any_of(declared_.hooks.guides, guided)) return {Branch::cond};
    return branches_in(run_, declared_.predictions, declared_.drop_guidance, steps);
  }

  static std::string phrase(const Edit& edit) { return text_of(edit) + " (" + edit.method + ")"; }

  static std::pair<std::vector<const Edit*>, std::vector<const Edit*>> layer_verbs(
      const std::vector<const Edit*>& edits) {
    std::pair<std::vector<const Edit*>, std::vector<const Edit*>> out;
    for (const Edit* edit : edits) (std::holds_alternative<Reuse>(edit->verb) ? out.first : out.second).push_back(edit);
    return out;
  }

  // Slots are written in the order of their names; each has one writer.
  void keep(const std::vector<const Edit*>& keeps, const std::string& place, CompiledPlan::LayerSection& section,
            std::set<Kind>& written) const {
    std::map<std::string, std::vector<const Edit*>> by_slot;
    for (const Edit* edit : keeps) by_slot[std::get<Keep>(edit->verb).slot].push_back(edit);
    for (const auto& [slot, claims] : by_slot) {
      for (const Edit* edit : settle(claims, "keep " + slot, place)) {
        const auto& one = std::get<Keep>(edit->verb);
        const TokenLayout& keys = run_.tokens[static_cast<size_t>(edit->site)].key;
        if (one.held != Held::result && range_of(keys, one.segment).empty())
          fail(ErrorCode::usage, edit->where + " " + edit->method, "keys of " + one.segment + " at " + place, "none");
        section.keeps.push_back(one);
        section.phrases.push_back(phrase(*edit));
        written.insert(kind_of(one));
      }
    }
  }

  static std::string lane_name_of(const RunShape& run, Branch branch, int member) {
    const std::string& name = run.members[static_cast<size_t>(member)].name;
    return (name.empty() ? "" : name + ".") + name_of(branch);
  }

  const PlanBuilder& declared_;
  const RunShape& run_;
  std::vector<CompiledPlan::Section>& sections_;
  std::vector<CompiledPlan::LayerSection>& layers_;
};

// A branch that two methods add would carry the edits of both, and both would steer by it.
void check_predictions(const PlanBuilder& declared) {
  const std::vector<PredictionTerm>& terms = declared.predictions;
  for (size_t i = 0; i < terms.size(); ++i) {
    for (size_t j = i + 1; j < terms.size(); ++j) {
      if (terms[i].branch == terms[j].branch)
        fail(ErrorCode::usage, "plan", "one method that adds the branch " + name_of(terms[i].branch),
             terms[i].method + " and " + terms[j].method, "one of them");
    }
  }
}

// An edit of a branch that is not evaluated any more would silently do nothing. Branches that methods add are a kind of
// guidance themselves and end with it.
void check_dropped(const PlanBuilder& declared) {
  if (!declared.drop_guidance) return;
  const DropGuidance& drop = *declared.drop_guidance;
  for (const Edit& edit : declared.edits()) {
    const auto* capture = std::get_if<Capture>(&edit.verb);
    const bool content = (capture != nullptr && capture->optional) || edit.steps.empty() || is_neutral(edit);
    const bool gone = edit.lanes.branch && *edit.lanes.branch != drop.tail && *edit.lanes.branch != Branch::perturbed;
    const int last = std::min(edit.steps.end, declared.run().steps);
    if (content || !gone || !edit.passes.contains(Pass::denoise) || last <= drop.step) continue;
    const std::string& site = declared.run().sites[static_cast<size_t>(edit.site)].name;
    fail(ErrorCode::usage, "plan",
         "the " + name_of(*edit.lanes.branch) + " branch at " +
             place_text(site, "", {std::max(edit.steps.begin, drop.step), last}, last) + " for " + edit.method + " (" +
             text_of(edit) + ")",
         drop.method + " drops guidance from step " + std::to_string(drop.step) + " on and evaluates " +
             name_of(drop.tail) + " alone",
         "steps of " + edit.method + " that end before, a later gate, or `drop_guidance: false`");
  }
}

// What one step keeps, another reads: both have to evaluate the same branches, but where guidance is dropped for good.
void check_interval(const PlanBuilder& declared) {
  const RunShape& run = declared.run();
  if (!run.guided || (run.guided_steps.begin == 0 && run.guided_steps.end >= run.steps)) return;
  const auto kept =
      std::ranges::find_if(declared.edits(), [](const Edit& edit) { return std::holds_alternative<Reuse>(edit.verb); });
  if (kept == declared.edits().end()) return;
  fail(ErrorCode::usage, "sampler.guidance_interval",
       "guidance in all steps for " + kept->method + ", which reuses results of earlier ones",
       "guidance in steps " + std::to_string(run.guided_steps.begin) + " to " +
           std::to_string(std::min(run.guided_steps.end, run.steps) - 1) + " of " + std::to_string(run.steps),
       "one of the two");
}

}  // namespace

CompiledPlan compile(const PlanBuilder& declared) {
  check_predictions(declared);
  check_shared_norms(declared.shared_norms, declared.run());
  CompiledPlan plan;
  plan.run_ = declared.run();
  Planner(declared, plan.sections_, plan.layers_)();
  check_dropped(declared);
  check_interval(declared);
  for (size_t i = 0; i < plan.sections_.size(); ++i)
    plan.by_site_[{plan.sections_[i].site, static_cast<int>(plan.sections_[i].pass)}].push_back(i);
  for (size_t i = 0; i < plan.layers_.size(); ++i)
    plan.layers_by_site_[{plan.layers_[i].site, static_cast<int>(plan.layers_[i].pass)}].push_back(i);
  plan.hooks_ = declared.hooks;
  plan.predictions_ = declared.predictions;
  plan.shared_norms_ = declared.shared_norms;
  std::ranges::sort(plan.shared_norms_, {}, &SharedNorms::member);
  plan.drop_guidance_ = declared.drop_guidance;
  return plan;
}

}  // namespace heddle
