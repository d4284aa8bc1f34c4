// Explain: a compiled plan in words and figures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention_control/plan/planner.h"

namespace heddle {

// What holds at some sites in some lanes for a run of steps.
struct PlanRow {
  std::vector<std::string> sites, lanes;
  std::string query, key;  // "image 16x16", "text 77"
  int64_t heads = 0;
  Pass pass = Pass::denoise;
  Steps steps;
  Tier tier = Tier::plain;
  std::vector<std::string> edits;      // with the method that asks, in the order in which they act
  std::vector<std::string> not_plain;  // reasons
  int calls = 1;                       // softmaxes for one lane and evaluation
  bool merged = false;                 // several of them share a softmax
  bool reused = false;                 // an earlier result of the layer stands in for all of it
  std::vector<std::string> left_out;   // segments whose tokens the network does without
  int64_t column_keys = 0;             // of the second pass
  int64_t raw_keys = 0;                // of the pass over a plain softmax, which is one more call
  int64_t extra_flops = 0;             // beside the plain network, one evaluation of one lane of one site
  int64_t extra_bytes = 0;             // of terms, partial results and captured maps, the same
  int64_t reference_bytes = 0;         // of scores that the reference tier would hold
  int64_t stored_bytes = 0;            // of q, k, v that wait until they are recalled; of one site, all steps
  int64_t kept_bytes = 0;  // of results and segments that wait until they are reused; of one site, all lanes
};

// Group norms whose statistics some lanes share.
struct NormRow {
  int norms = 0;  // all of the network
  std::vector<std::string> lanes;
  Steps steps;
  std::string edit;  // with the method that asks
};

struct PlanTotals {
  int sites = 0, planned_sites = 0;
  int64_t network_calls = 0;  // of the denoising run, each with all its lanes
  int64_t extra_flops = 0;    // over the run
  int64_t layers_reused = 0;  // layer evaluations left out
  int guided_steps = 0;       // steps with a guiding pass
  int64_t stored_bytes = 0;   // at the end of the inversion
  int64_t kept_bytes = 0;     // of all slots and sites
};

std::vector<PlanRow> explain(const CompiledPlan& plan);
std::vector<NormRow> explain_norms(const CompiledPlan& plan);
PlanTotals totals(const CompiledPlan& plan);
std::string explain_text(const CompiledPlan& plan);

}  // namespace heddle
