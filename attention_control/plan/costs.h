// What a plan's programs and kept layers cost beside the plain network, in floating-point operations and bytes.
#pragma once

#include <cstdint>
#include <string>

#include "attention_control/plan/planner.h"

namespace heddle {

// Of the program of one site, in one lane of one evaluation unless said otherwise.
class ProgramCosts {
 public:
  ProgramCosts(const CompiledPlan& plan, const CompiledPlan::Section& section);

  int64_t keys_read(bool raw) const;
  int64_t extra_flops() const;
  int64_t extra_bytes() const;  // terms, results that wait to be merged or summed, and maps
  // Over the steps of the section: a slot for each stage that the inversion evaluates.
  int64_t stored_bytes(const Steps& steps, const SourceShape& source) const;
  int64_t reference_bytes() const;  // scores that the reference tier would hold

 private:
  int64_t term_bytes(const std::vector<Term>& terms) const;

  const Program& program_;
  const AttentionSite& site_;
  const SiteTokens& tokens_;
  int64_t rows_, queries_, keys_;
};

// What layers, or segments of them, that are kept and reused hold and save.
class LayerCosts {
 public:
  LayerCosts(const CompiledPlan& plan, const CompiledPlan::LayerSection& section);

  // More than the plain network needs in one lane. Edits at the site are made for all tokens.
  int64_t extra_flops(int step) const;
  int64_t bytes(const Keep& keep) const;  // all lanes
  int64_t bytes() const;                  // of all that the section keeps

 private:
  bool edited(int step) const;  // whether a lane has edits that act there
  int64_t of(const std::string& segment) const;
  int64_t others(const std::string& segment) const;
  int64_t products(int64_t queries, int64_t keys) const;  // scores and their sums

  const CompiledPlan& plan_;
  const CompiledPlan::LayerSection& section_;
  const AttentionSite& site_;
  const SiteTokens& tokens_;
  int64_t rows_;  // of one lane
};

}  // namespace heddle
