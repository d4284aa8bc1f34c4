// Selecting sites and collecting edits.
#include "attention_control/plan/builder.h"

#include <algorithm>
#include <charconv>
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

// "0.4..0.6" as two numbers.
std::optional<std::pair<double, double>> depth_share(const std::string& text) {
  const auto number = [](std::string_view part) {
    double value = -1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc() && end == part.data() + part.size() ? value : -1;
  };
  const size_t dots = text.find("..");
  if (dots == std::string::npos) return std::nullopt;
  const double from = number(std::string_view(text).substr(0, dots)),
               to = number(std::string_view(text).substr(dots + 2));
  if (!(from >= 0 && from <= to && to <= 1)) return std::nullopt;
  return std::pair{from, to};
}

// "block.07" of "block.07.joint".
std::string block_of(const std::string& site) {
  return site.substr(0, site.rfind('.'));
}

// Names of the blocks that a share of depth means among those of these kinds.
std::vector<std::string> blocks_in(const std::pair<double, double>& share, const std::vector<AttentionSite>& sites,
                                   const std::vector<AttentionKind>& kinds) {
  std::vector<std::string> blocks;
  for (const AttentionSite& site : sites) {
    const bool counts = kinds.empty() || std::ranges::find(kinds, site.kind) != kinds.end();
    if (counts && (blocks.empty() || blocks.back() != block_of(site.name))) blocks.push_back(block_of(site.name));
  }
  const auto count = static_cast<double>(blocks.size());
  const auto at = [&](double place) { return static_cast<std::ptrdiff_t>(std::clamp(place, 0.0, count)); };
  const std::ptrdiff_t begin = std::min(at(std::floor(share.first * count + 1e-9)), at(count - 1));
  const std::ptrdiff_t end = std::max(at(std::ceil(share.second * count - 1e-9)), begin + 1);
  return {blocks.begin() + begin, blocks.begin() + std::min(end, at(count))};
}

// For each asked name the names of sites, or beginnings of them, that it stands for.
std::vector<std::vector<std::string>> meant(const SiteSelect& select, const std::vector<AttentionSite>& sites) {
  std::vector<std::vector<std::string>> out;
  for (const std::string& name : select.names) {
    const auto share = depth_share(name);
    out.push_back(share ? blocks_in(*share, sites, select.kinds) : std::vector{name});
  }
  return out;
}

std::string listed(const std::vector<AttentionSite>& sites) {
  std::string text;
  for (const AttentionSite& site : sites) text += (text.empty() ? "" : ", ") + site.name;
  return text.empty() ? "none" : text;
}

}  // namespace

std::vector<SiteScope> PlanBuilder::sites(const SiteSelect& select) {
  std::vector<SiteScope> found;
  const std::vector<std::vector<std::string>> names = meant(select, run_.sites);
  std::vector<bool> used(names.size());
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
    bool wanted = names.empty();
    for (size_t n = 0; n < names.size(); ++n) {
      if (std::ranges::none_of(names[n], [&](const std::string& name) { return named(site.name, name); })) continue;
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
       "none among " + listed(run_.sites),
       select.names.empty() ? "heddle inspect --sites MODEL"
                            : "names of sites, beginnings of them, or a share of depth such as \"0.4..0.6\"");
}

void PlanBuilder::speaks(std::string method, std::string where, std::string over) {
  method_ = std::move(method);
  where_ = std::move(where);
  over_ = std::move(over);
}

}  // namespace heddle
