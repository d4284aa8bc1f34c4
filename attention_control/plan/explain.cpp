// The plan as people read it: one paragraph for all sites and lanes that share a program.
#include "attention_control/plan/explain.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

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

class Costs {
 public:
  Costs(const CompiledPlan& plan, const CompiledPlan::Section& section)
      : program_(*section.program),
        site_(plan.run().sites[static_cast<size_t>(section.site)]),
        tokens_(plan.run().tokens[static_cast<size_t>(section.site)]),
        rows_(section.pass == Pass::guide ? 1 : plan.run().pictures) {
    queries_ = token_count(tokens_.query);
    keys_ = token_count(tokens_.key);
  }

  int64_t keys_read(bool raw) const {
    int64_t count = 0;
    for (const Capture& c : program_.captures) count += c.raw == raw ? static_cast<int64_t>(c.keys.size()) : 0;
    return count;
  }

  int64_t extra_flops() const {
    const int64_t products = 2 * rows_ * queries_ * site_.heads * site_.head_dim;
    const int64_t calls = program_.calls() + (program_.reads_raw() ? 1 : 0);
    int64_t among = 0;  // softmaxes over some keys alone
    for (const Capture& c : program_.captures) among += 2 * static_cast<int64_t>(c.within.size());
    int64_t left_out = 0;  // keys of other segments than those that a source adds
    for (const BranchProgram& branch : program_.branches) {
      for (const Extend& e : branch.extends)
        left_out += e.segment.empty() ? 0 : keys_ - range_of(tokens_.key, e.segment).size();
    }
    return ((calls - 1) * keys_ - left_out) * 2 * products + (keys_read(false) + keys_read(true) + among) * products;
  }

  // Terms, results that wait to be merged or summed, and maps.
  int64_t extra_bytes() const {
    int64_t bytes = 0;
    const int64_t calls = program_.calls() + (program_.reads_raw() ? 1 : 0);
    if (calls > 1) bytes += calls * rows_ * queries_ * site_.heads * (site_.head_dim + 1) * 4;
    for (const BranchProgram& branch : program_.branches) {
      bytes += term_bytes(branch.terms);
      for (const Extend& extend : branch.extends) bytes += term_bytes(extend.terms);
    }
    for (const Capture& c : program_.captures)
      bytes += rows_ * queries_ * static_cast<int64_t>(c.keys.size()) * 4 * (c.mean_over_heads ? 1 : site_.heads);
    return bytes;
  }

  // Over the steps of the section: a slot for each stage that the inversion evaluates.
  int64_t stored_bytes(const Steps& steps, const SourceShape& source) const {
    int64_t stages = 0, each = 0;
    for (int step = steps.begin; step < std::min(steps.end, static_cast<int>(source.stages.size())); ++step)
      stages += source.stages[static_cast<size_t>(step)];
    for (const Store& s : program_.stores) {
      const int64_t all = s.role == Role::q ? queries_ : keys_;
      const int64_t tokens = s.tokens.empty() ? all : static_cast<int64_t>(s.tokens.size());
      each += source.pictures * tokens * site_.heads * site_.head_dim * size_of(s.dtype);
    }
    return stages * each;
  }

  int64_t reference_bytes() const { return rows_ * site_.heads * queries_ * keys_ * 4; }

 private:
  int64_t term_bytes(const std::vector<Term>& terms) const {
    int64_t bytes = 0;
    for (const Term& term : terms) bytes += term.at_run_time ? 0 : bytes_of(term.form, tokens_);
    return bytes;
  }

  const Program& program_;
  const AttentionSite& site_;
  const SiteTokens& tokens_;
  int64_t rows_, queries_ = 0, keys_ = 0;
};

PlanRow row_of(const CompiledPlan& plan, const CompiledPlan::Section& section) {
  const Costs costs(plan, section);
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

// What layers, or segments of them, that are kept and reused hold and save.
class LayerCosts {
 public:
  LayerCosts(const CompiledPlan& plan, const CompiledPlan::LayerSection& section)
      : plan_(plan),
        section_(section),
        site_(plan.run().sites[static_cast<size_t>(section.site)]),
        tokens_(plan.run().tokens[static_cast<size_t>(section.site)]),
        rows_(plan.run().pictures) {}

  // More than the plain network needs in one lane. Edits at the site are made for all tokens.
  int64_t extra_flops(int step) const {
    int64_t flops = 0, queries = token_count(tokens_.query), keys = token_count(tokens_.key);
    for (const Keep& keep : section_.keeps) {
      if (keep.held == Held::part) flops += products(others(keep.segment), of(keep.segment));
    }
    for (const Reuse& reuse : section_.left_out) {
      const TokenStream* stream = site_.stream(reuse.segment);
      flops -= rows_ * (of(reuse.segment) * stream->token_flops + stream->row_flops);
      queries -= range_of(tokens_.query, reuse.segment).size();
      if (reuse.held == Held::part) keys -= of(reuse.segment);
    }
    return edited(step)
               ? flops
               : flops + products(queries, keys) - products(token_count(tokens_.query), token_count(tokens_.key));
  }

  // Whether a lane has edits that act there.
  bool edited(int step) const {
    if (holds_part(section_.left_out)) return false;
    const Moment moment{.step = step, .steps = plan_.run().steps, .pass = section_.pass};
    for (const Branch branch : plan_.branches_at(step)) {
      for (int member = 0; member < static_cast<int>(plan_.run().members.size()); ++member) {
        if (plan_.program(section_.site, {.name = {}, .branch = branch, .member = member}, moment) != nullptr)
          return true;
      }
    }
    return false;
  }

  // Of one Keep, all lanes.
  int64_t bytes(const Keep& keep) const {
    const auto members = static_cast<int64_t>(plan_.run().members.size());
    const auto branches = static_cast<int64_t>(plan_.branches_at(section_.steps.begin).size());
    const int64_t rows = rows_ * members * (keep.combine ? 1 : branches);
    const int64_t token = site_.heads * site_.head_dim * size_of(site_.dtype);
    if (keep.held == Held::keys) return rows * 2 * of(keep.segment) * token;
    if (keep.held == Held::part) return rows * others(keep.segment) * (token + 4 * site_.heads);
    return rows * token_count(tokens_.query) * token;
  }

  int64_t bytes() const {
    int64_t total = 0;
    for (const Keep& keep : section_.keeps) total += bytes(keep);
    return total;
  }

 private:
  int64_t of(const std::string& segment) const { return range_of(tokens_.key, segment).size(); }
  int64_t others(const std::string& segment) const {
    return token_count(tokens_.query) - range_of(tokens_.query, segment).size();
  }
  // Scores and their sums.
  int64_t products(int64_t queries, int64_t keys) const {
    return 4 * rows_ * queries * keys * site_.heads * site_.head_dim;
  }

  const CompiledPlan& plan_;
  const CompiledPlan::LayerSection& section_;
  const AttentionSite& site_;
  const SiteTokens& tokens_;
  int64_t rows_;  // of one lane
};

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

// Over the run: what all layers hold, and more than plain in all lanes of the denoising steps.
void add_layers(const CompiledPlan& plan, PlanTotals& t) {
  std::map<std::pair<std::string, int>, int64_t> kept;
  for (const CompiledPlan::LayerSection& s : plan.layers()) {
    const LayerCosts costs(plan, s);
    for (const Keep& keep : s.keeps) kept[{keep.slot, s.site}] = costs.bytes(keep);
    for (int step = s.steps.begin; s.pass == Pass::denoise && step < std::min(s.steps.end, plan.run().steps); ++step) {
      const auto lanes = static_cast<int64_t>(plan.branches_at(step).size() * plan.run().members.size());
      t.extra_flops += lanes * costs.extra_flops(step);
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
  PlanTotals t{.sites = static_cast<int>(plan.run().sites.size())};
  std::set<int> planned;
  const int steps = plan.run().steps;
  for (const CompiledPlan::Section& s : plan.sections()) {
    planned.insert(s.site);
    t.stored_bytes += Costs(plan, s).stored_bytes(s.steps, plan.run().source);
    if (s.pass == Pass::denoise)
      t.extra_flops += Costs(plan, s).extra_flops() * (std::min(s.steps.end, steps) - s.steps.begin);
  }
  for (const CompiledPlan::LayerSection& s : plan.layers()) {
    planned.insert(s.site);
    if (s.reuse && s.pass == Pass::denoise) t.layers_reused += std::min(s.steps.end, steps) - s.steps.begin;
  }
  add_layers(plan, t);
  t.planned_sites = static_cast<int>(planned.size());
  for (int step = 0; step < steps; ++step) t.guided_steps += plan.guides_at(step) ? 1 : 0;
  return t;
}

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
  return text + "\n";
}

}  // namespace heddle
