// Counts of products and of what is held.
#include "attention_control/plan/costs.h"

#include <algorithm>

#include "attention_control/plan/left_out.h"

namespace heddle {

ProgramCosts::ProgramCosts(const CompiledPlan& plan, const CompiledPlan::Section& section)
    : program_(*section.program),
      site_(plan.run().sites[static_cast<size_t>(section.site)]),
      tokens_(plan.run().tokens[static_cast<size_t>(section.site)]),
      rows_(section.pass == Pass::guide ? 1 : plan.run().pictures),
      queries_(token_count(tokens_.query)),
      keys_(token_count(tokens_.key)) {}

int64_t ProgramCosts::keys_read(bool raw) const {
  int64_t count = 0;
  for (const Capture& c : program_.captures) count += c.raw == raw ? static_cast<int64_t>(c.keys.size()) : 0;
  return count;
}

int64_t ProgramCosts::extra_flops() const {
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

int64_t ProgramCosts::extra_bytes() const {
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

int64_t ProgramCosts::stored_bytes(const Steps& steps, const SourceShape& source) const {
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

int64_t ProgramCosts::reference_bytes() const {
  return rows_ * site_.heads * queries_ * keys_ * 4;
}

int64_t ProgramCosts::term_bytes(const std::vector<Term>& terms) const {
  int64_t bytes = 0;
  for (const Term& term : terms) bytes += term.at_run_time ? 0 : bytes_of(term.form, tokens_);
  return bytes;
}

LayerCosts::LayerCosts(const CompiledPlan& plan, const CompiledPlan::LayerSection& section)
    : plan_(plan),
      section_(section),
      site_(plan.run().sites[static_cast<size_t>(section.site)]),
      tokens_(plan.run().tokens[static_cast<size_t>(section.site)]),
      rows_(plan.run().pictures) {}

int64_t LayerCosts::extra_flops(int step) const {
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

bool LayerCosts::edited(int step) const {
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

int64_t LayerCosts::bytes(const Keep& keep) const {
  const auto members = static_cast<int64_t>(plan_.run().members.size());
  const auto branches = static_cast<int64_t>(plan_.branches_at(section_.steps.begin).size());
  const int64_t rows = rows_ * members * (keep.combine ? 1 : branches);
  const int64_t token = site_.heads * site_.head_dim * size_of(site_.dtype);
  if (keep.held == Held::keys) return rows * 2 * of(keep.segment) * token;
  if (keep.held == Held::part) return rows * others(keep.segment) * (token + 4 * site_.heads);
  return rows * token_count(tokens_.query) * token;
}

int64_t LayerCosts::bytes() const {
  int64_t total = 0;
  for (const Keep& keep : section_.keeps) total += bytes(keep);
  return total;
}

int64_t LayerCosts::of(const std::string& segment) const {
  return range_of(tokens_.key, segment).size();
}

int64_t LayerCosts::others(const std::string& segment) const {
  return token_count(tokens_.query) - range_of(tokens_.query, segment).size();
}

int64_t LayerCosts::products(int64_t queries, int64_t keys) const {
  return 4 * rows_ * queries * keys * site_.heads * site_.head_dim;
}

}  // namespace heddle
