// Rows and totals of a plan: one row for all sites and lanes that share a program.
#include "attention_control/plan/explain.h"

#include <algorithm>
#include <map>
#include <set>

#include "attention_control/plan/costs.h"
#include "attention_control/plan/left_out.h"

namespace heddle {
namespace {

std::string segment_text(const TokenSegment& s) {
  if (s.frames == 1 && s.height == 1) return s.name + " " + std::to_string(s.width);
  const std::string plane = std::to_string(s.height) + "x" + std::to_string(s.width);
  return s.name + " " + (s.frames > 1 ? std::to_string(s.frames) + "x" : "") + plane;
}

std::string layout_text(const TokenLayout& layout) {
  std::string text;
  for (const TokenSegment& s : layout) text += (text.empty() ? "" : " + ") + segment_text(s);
  return text;
}

PlanRow row_of(const CompiledPlan& plan, const CompiledPlan::Section& section) {
  const ProgramCosts costs(plan, section);
  const RunShape& run = plan.run();
  const SiteTokens& tokens = run.tokens[static_cast<size_t>(section.site)];
  const AttentionSite& site = run.sites[static_cast<size_t>(section.site)];
  return {.sites = {site.name},
          .lanes = {plan.lane_name(section.branch, section.member)},
          .query = layout_text(tokens.query),
          .key = layout_text(tokens.key),
          .heads = site.heads,
          .pass = section.pass,
          .steps = {section.steps.begin, std::min(section.steps.end, run.steps)},
          .tier = tier_of(section.program.get()),
          .edits = section.program->phrases,
          .not_plain = why_not(Tier::plain, section.program.get()),
          .calls = section.program->calls(),
          .merged = std::ranges::any_of(
              section.program->branches,
              [](const BranchProgram& b) { return !b.extends.empty() || !b.segment_tempers.empty(); }),
          .column_keys = costs.keys_read(false),
          .raw_keys = costs.keys_read(true),
          .extra_flops = costs.extra_flops(),
          .extra_bytes = costs.extra_bytes(),
          .reference_bytes = costs.reference_bytes(),
          .stored_bytes = costs.stored_bytes(section.steps, run.source)};
}

PlanRow row_of(const CompiledPlan& plan, const CompiledPlan::LayerSection& section) {
  const LayerCosts costs(plan, section);
  const bool part = holds_part(section.left_out);
  std::vector<std::string> left_out;
  for (const Reuse& reuse : section.left_out) left_out.push_back(reuse.segment);
  const RunShape& run = plan.run();
  const SiteTokens& tokens = run.tokens[static_cast<size_t>(section.site)];
  const AttentionSite& site = run.sites[static_cast<size_t>(section.site)];
  return {.sites = {site.name},
          .lanes = {"all"},
          .query = layout_text(tokens.query),
          .key = layout_text(tokens.key),
          .heads = site.heads,
          .pass = section.pass,
          .steps = {section.steps.begin, std::min(section.steps.end, run.steps)},
          .tier = part ? Tier::fused : Tier::plain,
          .edits = section.phrases,
          .not_plain = {},
          .calls = section.reuse ? 0 : 1,
          .merged = part,
          .reused = section.reuse.has_value(),
          .left_out = left_out,
          .extra_flops = costs.extra_flops(section.steps.begin),
          .kept_bytes = costs.bytes()};
}

bool alike(const PlanRow& a, const PlanRow& b) {
  return a.query == b.query && a.key == b.key && a.heads == b.heads && a.pass == b.pass && a.steps == b.steps &&
         a.edits == b.edits && a.extra_flops == b.extra_flops && a.stored_bytes == b.stored_bytes &&
         a.kept_bytes == b.kept_bytes;
}

// Rows of equal content as one: first lanes of one site, then sites of equal lanes.
void collect(std::vector<PlanRow>& rows) {
  std::vector<PlanRow> by_lane, out;
  for (PlanRow& row : rows) {
    const auto same =
        std::ranges::find_if(by_lane, [&](const PlanRow& r) { return alike(r, row) && r.sites == row.sites; });
    if (same == by_lane.end()) {
      by_lane.push_back(std::move(row));
    } else {
      same->lanes.insert(same->lanes.end(), row.lanes.begin(), row.lanes.end());
    }
  }
  for (PlanRow& row : by_lane) {
    const auto same =
        std::ranges::find_if(out, [&](const PlanRow& r) { return alike(r, row) && r.lanes == row.lanes; });
    if (same == out.end()) {
      out.push_back(std::move(row));
    } else {
      same->sites.insert(same->sites.end(), row.sites.begin(), row.sites.end());
    }
  }
  rows = std::move(out);
}

// Over the run: what all layers hold, and more than plain in all lanes of the denoising steps.
void add_layers(const CompiledPlan& plan, PlanTotals& t) {
  std::map<std::pair<std::string, int>, int64_t> kept;
  for (const CompiledPlan::LayerSection& s : plan.layers()) {
    const LayerCosts costs(plan, s);
    for (const Keep& keep : s.keeps) kept[{keep.slot, s.site}] = costs.bytes(keep);
    for (int step = s.steps.begin; s.pass == Pass::denoise && step < std::min(s.steps.end, plan.run().steps); ++step) {
      const auto lanes = static_cast<int64_t>(plan.branches_at(step).size() * plan.run().members.size());
      t.extra_flops += lanes * costs.extra_flops(step) * plan.run().calls_in({step, step + 1});
    }
  }
  for (const auto& [slot, bytes] : kept) t.kept_bytes += bytes;
}

}  // namespace

std::vector<PlanRow> explain(const CompiledPlan& plan) {
  std::vector<PlanRow> rows;
  for (const CompiledPlan::Section& section : plan.sections()) rows.push_back(row_of(plan, section));
  for (const CompiledPlan::LayerSection& section : plan.layers()) rows.push_back(row_of(plan, section));
  // A guiding pass without a loss is never run.
  std::erase_if(rows, [&](const PlanRow& r) { return r.pass == Pass::guide && plan.hooks().guides.empty(); });
  collect(rows);
  return rows;
}

std::vector<NormRow> explain_norms(const CompiledPlan& plan) {
  std::vector<NormRow> rows;
  for (const SharedNorms& shared : plan.shared_norms()) {
    const std::string& other = plan.run().members[static_cast<size_t>(shared.with)].name;
    const std::string edit = "mean and variance over own maps and those of " + other + " (" + shared.method + ")";
    auto row = std::ranges::find(rows, edit, &NormRow::edit);
    if (row == rows.end()) row = rows.insert(row, {plan.run().group_norms, {}, {0, plan.run().steps}, edit});
    for (const Branch branch : plan.branches_at(0)) row->lanes.push_back(plan.lane_name(branch, shared.member));
  }
  return rows;
}

PlanTotals totals(const CompiledPlan& plan) {
  PlanTotals t{.sites = static_cast<int>(plan.run().sites.size()), .network_calls = plan.run().calls_in({})};
  std::set<int> planned;
  for (const CompiledPlan::Section& s : plan.sections()) {
    planned.insert(s.site);
    t.stored_bytes += ProgramCosts(plan, s).stored_bytes(s.steps, plan.run().source);
    if (s.pass == Pass::denoise) t.extra_flops += ProgramCosts(plan, s).extra_flops() * plan.run().calls_in(s.steps);
  }
  for (const CompiledPlan::LayerSection& s : plan.layers()) {
    planned.insert(s.site);
    if (s.reuse && s.pass == Pass::denoise) t.layers_reused += plan.run().calls_in(s.steps);
  }
  add_layers(plan, t);
  t.planned_sites = static_cast<int>(planned.size());
  for (int step = 0; step < plan.run().steps; ++step)
    t.guided_steps += plan.guides_at(step) && plan.run().calls_in({step, step + 1}) > 0 ? 1 : 0;
  return t;
}

}  // namespace heddle
