// What cannot hold together, said before the first step.
#include "attention_control/plan/conflicts.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::string who(const Edit& edit) {
  return edit.method + (edit.where.empty() ? "" : " (" + edit.where + ")");
}

bool overruled(const Edit& edit, const std::vector<const Edit*>& claims) {
  return std::ranges::any_of(claims,
                             [&](const Edit* other) { return !other->over.empty() && other->over == edit.method; });
}

bool same_region(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || a.to_vector() == b.to_vector());
}

// Regions of one role may stand side by side where no query is in two of them, and segments do in any case.
bool apart(const Edit& a, const Edit& b) {
  const auto* r = std::get_if<Reuse>(&a.verb);
  const auto* s = std::get_if<Reuse>(&b.verb);
  if (r != nullptr && s != nullptr) return !r->segment.empty() && !s->segment.empty() && r->segment != s->segment;
  const auto* x = std::get_if<Take>(&a.verb);
  const auto* y = std::get_if<Take>(&b.verb);
  if (x == nullptr || y == nullptr) return false;
  if (!x->segment.empty() && !y->segment.empty() && x->segment != y->segment) return true;
  if (!x->region.defined() || !y->region.defined()) return false;
  if (a.method == b.method && same_region(x->region, y->region) && x->lane == y->lane) return true;
  const std::vector<float> p = x->region.to_vector(), q = y->region.to_vector();
  for (size_t i = 0; i < std::min(p.size(), q.size()); ++i) {
    if (p[i] != 0 && q[i] != 0) return false;
  }
  return true;
}

}  // namespace

std::string place_text(const std::string& site, const std::string& lane, const Steps& steps, int total) {
  const int last = std::min(steps.end, total) - 1;
  const std::string at = last > steps.begin ? "steps " + std::to_string(steps.begin) + "-" + std::to_string(last)
                                            : "step " + std::to_string(steps.begin);
  return site + (lane.empty() ? "" : ", lane " + lane) + ", " + at;
}

std::vector<const Edit*> settle(std::vector<const Edit*> claims, const std::string& what, const std::string& place) {
  const std::vector<const Edit*> all = claims;
  std::erase_if(claims, [&](const Edit* edit) { return overruled(*edit, all); });
  for (size_t i = 0; i < claims.size(); ++i) {
    for (size_t j = i + 1; j < claims.size(); ++j) {
      if (apart(*claims[i], *claims[j])) continue;
      fail(ErrorCode::usage, "plan", "one method to " + what + " at " + place,
           who(*claims[i]) + " and " + who(*claims[j]),
           "different regions, different steps, or `over: " + claims[i]->method + "` under " + claims[j]->method);
    }
  }
  return claims;
}

void refuse_on_reused(const Edit& reuse, const Edit& other, const std::string& place) {
  const auto& [slot, absorbs, held, segment] = std::get<Reuse>(reuse.verb);
  if (other.method == reuse.method || std::ranges::find(absorbs, other.method) != absorbs.end()) return;
  if (held == Held::part) {
    fail(ErrorCode::usage, "plan",
         "keys of " + segment + " at " + place + " for " + who(other) + " (" + text_of(other) + ")",
         who(reuse) + " holds their part of the softmax in their place", "other steps for one of them, or keys held");
  }
  fail(ErrorCode::usage, "plan",
       "attention that is computed at " + place + " for " + who(other) + " (" + text_of(other) + ")",
       who(reuse) + " reuses an earlier result there",
       "other steps for one of them, or `absorbs: [" + other.method + "]` under " + reuse.method +
           " if the kept result already carries the edit");
}

void check_read(const Edit& edit, const std::vector<Branch>& present, const std::string& place) {
  const LaneRef* read = nullptr;
  if (const auto* take = std::get_if<Take>(&edit.verb)) read = &take->lane;
  if (const auto* extend = std::get_if<Extend>(&edit.verb)) read = &extend->lane;
  if (const auto* blend = std::get_if<Blend>(&edit.verb)) read = &blend->lane;
  if (read == nullptr || !read->branch || std::ranges::find(present, *read->branch) != present.end()) return;
  fail(ErrorCode::usage, "plan", "the branch " + name_of(*read->branch) + " that " + who(edit) + " reads at " + place,
       "a guiding pass or dropped guidance, where " + name_of(present.front()) + " runs alone",
       "other steps for one of them");
}

namespace {

// The Store that fills what `recall` reads at its site; null for none.
const Edit* stored_for(const Edit& edit, const Recall& recall, const std::vector<Edit>& edits) {
  const auto found = std::ranges::find_if(edits, [&](const Edit& other) {
    const auto* store = std::get_if<Store>(&other.verb);
    return store != nullptr && other.site == edit.site && store->slot == recall.slot && store->role == recall.role &&
           store->tokens == recall.tokens && other.steps.begin <= edit.steps.begin && other.steps.end >= edit.steps.end;
  });
  return found == edits.end() ? nullptr : &*found;
}

}  // namespace

void check_stored(const std::vector<Edit>& edits, const RunShape& run) {
  std::map<std::tuple<int, std::string, Role>, const Edit*> writers;
  for (const Edit& edit : edits) {
    const std::string& site = run.sites[static_cast<size_t>(edit.site)].name;
    if (const auto* store = std::get_if<Store>(&edit.verb)) {
      if (run.source.stages.empty()) {
        fail(ErrorCode::usage, edit.where + " " + edit.method, "an inverted picture to store from",
             "a run that inverts none", "task: edit, with an inversion");
      }
      const auto [writer, fresh] = writers.insert({{edit.site, store->slot, store->role}, &edit});
      if (!fresh && writer->second->method != edit.method)
        fail(ErrorCode::usage, "plan", "one method to store " + store->slot + " at " + site,
             who(*writer->second) + " and " + who(edit));
    }
    const auto* recall = std::get_if<Recall>(&edit.verb);
    if (recall != nullptr && recall->weight != 0 && !edit.steps.empty() && stored_for(edit, *recall, edits) == nullptr)
      fail(ErrorCode::usage, "plan",
           "slot " + recall->slot + " stored before " + place_text(site, "", edit.steps, run.steps),
           "nothing that " + who(edit) + " could recall there");
  }
}

void check_lanes(const Edit& edit, const RunShape& run, const std::vector<Branch>& branches) {
  const auto check = [&](const std::optional<Branch>& branch, const std::optional<int>& member) {
    if (member && (*member < 0 || *member >= static_cast<int>(run.members.size()))) {
      fail(ErrorCode::usage, edit.where + " " + edit.method,
           "a member of the run, 0 to " + std::to_string(run.members.size() - 1), std::to_string(*member));
    }
    if (branch && std::ranges::find(branches, *branch) == branches.end()) {
      fail(ErrorCode::usage, edit.where + " " + edit.method, "a lane that the run evaluates", name_of(*branch),
           *branch == Branch::uncond ? "sampler.guidance above 1" : "");
    }
  };
  check(edit.lanes.branch, edit.lanes.member);
  if (const auto* take = std::get_if<Take>(&edit.verb)) check(take->lane.branch, take->lane.member);
  if (const auto* extend = std::get_if<Extend>(&edit.verb)) check(extend->lane.branch, extend->lane.member);
  if (const auto* blend = std::get_if<Blend>(&edit.verb)) check(blend->lane.branch, blend->lane.member);
}

}  // namespace heddle
