// Selecting sites and collecting edits.
#include "attention_control/plan/builder.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace heddle {

const AttentionSite& SiteScope::site() const {
  return plan_->run_.sites[static_cast<size_t>(edit_.site)];
}

const SiteTokens& SiteScope::tokens() const {
  return plan_->run_.tokens[static_cast<size_t>(edit_.site)];
}

SiteScope SiteScope::lane(Branch branch) const {
  SiteScope scope = *this;
  scope.edit_.lanes.branch = branch;
  return scope;
}

SiteScope SiteScope::member(int member) const {
  SiteScope scope = *this;
  scope.edit_.lanes.member = member;
  return scope;
}

SiteScope SiteScope::during(Steps steps) const {
  SiteScope scope = *this;
  scope.edit_.steps = steps;
  return scope;
}

SiteScope SiteScope::passes(Passes passes) const {
  SiteScope scope = *this;
  scope.edit_.passes = passes;
  return scope;
}

SiteScope SiteScope::on(const std::string& branch) const {
  SiteScope scope = *this;
  scope.edit_.branch = branch;
  return scope;
}

const SiteScope& SiteScope::declare(Verb verb) const {
  Edit edit = edit_;
  edit.verb = std::move(verb);
  plan_->edits_.push_back(std::move(edit));
  return *this;
}

Steps PlanBuilder::steps(double from, double to) const {
  const auto at = [&](double share) { return static_cast<int>(std::floor(share * run_.steps + 1e-9)); };
  return {at(from), at(to)};
}

namespace {

bool named(const std::string& name, const std::string& wanted) {
  return name == wanted || name.starts_with(wanted + ".");
}

std::string listed(const std::vector<AttentionSite>& sites) {
  std::string text;
  for (const AttentionSite& site : sites) text += (text.empty() ? "" : ", ") + site.name;
  return text.empty() ? "none" : text;
}

}  // namespace

std::vector<SiteScope> PlanBuilder::sites(const SiteSelect& select) {
  std::vector<SiteScope> found;
  std::vector<bool> used(select.names.size());
  for (size_t i = 0; i < run_.sites.size(); ++i) {
    SiteScope scope;
    scope.plan_ = this;
    scope.edit_.method = method_;
    scope.edit_.where = where_;
    scope.edit_.over = over_;
    scope.edit_.site = static_cast<int>(i);
    const AttentionSite& site = run_.sites[i];
    if (!select.kinds.empty() && std::ranges::find(select.kinds, site.kind) == select.kinds.end()) continue;
    if (select.query_tokens > 0 && token_count(run_.tokens[i].query) != select.query_tokens) continue;
    bool wanted = select.names.empty();
    for (size_t n = 0; n < select.names.size(); ++n) {
      if (!named(site.name, select.names[n])) continue;
      wanted = true;
      used[n] = true;
    }
    if (wanted && (!select.also || select.also(scope))) found.push_back(scope);
  }
  const auto unused = std::ranges::find(used, false);
  if (!found.empty() && unused == used.end()) return found;
  const std::string what =
      unused != used.end() ? "\"" + select.names[static_cast<size_t>(unused - used.begin())] + "\"" : select.text;
  fail(ErrorCode::usage, where_ + " " + method_, "attention sites that match " + what,
       "none among " + listed(run_.sites), "heddle inspect --sites MODEL");
}

void PlanBuilder::speaks(std::string method, std::string where, std::string over) {
  method_ = std::move(method);
  where_ = std::move(where);
  over_ = std::move(over);
}

}  // namespace heddle
