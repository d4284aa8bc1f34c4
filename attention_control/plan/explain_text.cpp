// The plan as people read it: a paragraph for each row, then a line for the run.
#include <cmath>
#include <cstdio>

#include "attention_control/plan/explain.h"

namespace heddle {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::string amount(double value, const char* unit, double step) {
  const char* prefixes[] = {"", "K", "M", "G", "T"};
  int p = 0;
  while (value >= step && p < 4) value /= step, ++p;
  char text[48];
  std::snprintf(text, sizeof(text), value < 10 && p > 0 ? "%.1f %s%s%s" : "%.0f %s%s%s", value, prefixes[p],
                p > 0 && step == 1024 ? "i" : "", unit);
  return text;
}

std::string lanes_text(const std::vector<std::string>& lanes) {
  return (lanes.size() == 1 ? "lane " : "lanes ") + joined(lanes, ", ");
}

std::string steps_text(const Steps& steps, Pass pass) {
  const std::string last = std::to_string(steps.end - 1);
  const std::string range =
      steps.end - steps.begin == 1 ? "step " + last : "steps " + std::to_string(steps.begin) + "-" + last;
  return range + (pass == Pass::guide ? ", guiding pass" : pass == Pass::invert ? ", inversion" : "");
}

std::string counted(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string work_text(const PlanRow& row) {
  if (row.reused) return "no computation";
  std::string text = std::string(name_of(row.tier)) + ": ";
  text += row.calls == 0 ? "no softmax" : counted(row.calls, "call");
  if (row.merged) text += " + merge";
  if (!row.left_out.empty()) text += ", without " + joined(row.left_out, ", ");
  if (row.column_keys > 0) text += " + " + std::to_string(row.column_keys) + "-column pass";
  if (row.raw_keys > 0) text += " + a plain call for " + counted(row.raw_keys, "raw column");
  return text;
}

// "each: 1.2 MFLOP and 3.4 KiB more than plain; ..."
std::string cost_text(const PlanRow& row) {
  const auto size = [](int64_t value) { return static_cast<double>(value < 0 ? -value : value); };
  const std::string flops = amount(size(row.extra_flops), "FLOP", 1000),
                    bytes = amount(size(row.extra_bytes), "B", 1024);
  std::string text = "  each: " + flops + (row.extra_flops < 0 ? " less and " : " and ") + bytes + " more than plain";
  if (row.stored_bytes > 0) text += "; keeps " + amount(size(row.stored_bytes), "B", 1024) + " until it is recalled";
  const std::string scores = amount(size(row.reference_bytes), "B", 1024) + " of scores here";
  return text + (row.tier == Tier::reference ? "; holds " + scores : "; the reference tier would hold " + scores) +
         "\n";
}

// Of a layer that is kept, or that segments are left out of; empty for nothing to say.
std::string layer_cost_text(const PlanRow& row) {
  std::string text;
  if (row.extra_flops != 0) {
    text = "each: " + amount(std::abs(static_cast<double>(row.extra_flops)), "FLOP", 1000) +
           (row.extra_flops < 0 ? " less" : " more") + " than plain";
  }
  if (row.kept_bytes > 0)
    text += (text.empty() ? "" : "; ") + std::string("keeps ") + amount(static_cast<double>(row.kept_bytes), "B", 1024);
  return text.empty() ? "" : "  " + text + "\n";
}

}  // namespace

std::string explain_text(const CompiledPlan& plan) {
  std::string text;
  for (const PlanRow& row : explain(plan)) {
    text += row.sites.front() + (row.sites.size() > 1 ? " and " + std::to_string(row.sites.size() - 1) + " more" : "");
    text += "   " + row.query + (row.key == row.query ? "" : " at " + row.key) + ", " + std::to_string(row.heads) +
            " heads";
    text += "   " + lanes_text(row.lanes) + "   " + steps_text(row.steps, row.pass) + "   " + work_text(row) + "\n";
    text += "  " + joined(row.edits, " | ") + "\n";
    if (row.sites.size() > 1) text += "  sites: " + joined(row.sites, ", ") + "\n";
    if (!row.not_plain.empty()) text += "  not plain: " + joined(row.not_plain, ", ") + ".\n";
    text += row.reference_bytes > 0 ? cost_text(row) : layer_cost_text(row);
  }
  for (const NormRow& row : explain_norms(plan)) {
    text += "all " + counted(row.norms, "group norm") + "   " + lanes_text(row.lanes) + "   " +
            steps_text(row.steps, Pass::denoise) + "\n  " + row.edit + "\n";
  }
  const PlanTotals t = totals(plan);
  text += std::to_string(t.planned_sites) + " of " + std::to_string(t.sites) + " sites planned";
  if (t.extra_flops != 0) {
    text += "; " + amount(std::abs(static_cast<double>(t.extra_flops)), "FLOP", 1000) +
            (t.extra_flops > 0 ? " more over the run" : " less over the run");
  }
  if (t.stored_bytes > 0)
    text += "; stores " + amount(static_cast<double>(t.stored_bytes), "B", 1024) + " of the inversion";
  if (t.kept_bytes > 0) text += "; keeps " + amount(static_cast<double>(t.kept_bytes), "B", 1024) + " of layers";
  if (t.guided_steps > 0) text += "; latents guided in " + counted(t.guided_steps, "step");
  if (t.layers_reused > 0) text += "; " + counted(t.layers_reused, "layer evaluation") + " left out";
  if (plan.drop_guidance())
    text += "; guidance dropped from step " + std::to_string(plan.drop_guidance()->step) + " on (" +
            name_of(plan.drop_guidance()->tail) + " alone)";
  const RunShape& run = plan.run();
  const Steps guided{.begin = run.guided_steps.begin, .end = std::min(run.guided_steps.end, run.steps)};
  if (run.guided && guided != Steps{.begin = 0, .end = run.steps})
    text += "; guidance in " + steps_text(guided, Pass::denoise) + " alone";
  return text + "\n";
}

}  // namespace heddle
