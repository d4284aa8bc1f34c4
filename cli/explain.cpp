// heddle explain: the resolved attention plan of a preset and what it costs.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/run.h"

namespace heddle::cli {
namespace {

nlohmann::ordered_json json_of(const PlanExplanation& plan) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const PlanRow& row : plan.rows) {
    rows.push_back({{"sites", row.sites},
                    {"lanes", row.lanes},
                    {"query", row.query},
                    {"key", row.key},
                    {"heads", row.heads},
                    {"pass", row.pass == Pass::guide    ? "guide"
                             : row.pass == Pass::invert ? "invert"
                                                        : "denoise"},
                    {"steps", {row.steps.begin, row.steps.end}},
                    {"tier", name_of(row.tier)},
                    {"edits", row.edits},
                    {"not_plain", row.not_plain},
                    {"calls", row.calls},
                    {"column_keys", row.column_keys},
                    {"raw_keys", row.raw_keys},
                    {"reused", row.reused},
                    {"left_out", row.left_out},
                    {"extra_flops", row.extra_flops},
                    {"extra_bytes", row.extra_bytes},
                    {"reference_bytes", row.reference_bytes},
                    {"stored_bytes", row.stored_bytes},
                    {"kept_bytes", row.kept_bytes}});
  }
  nlohmann::ordered_json norms = nlohmann::ordered_json::array();
  for (const NormRow& row : plan.norms) {
    norms.push_back({{"group_norms", row.norms},
                     {"lanes", row.lanes},
                     {"steps", {row.steps.begin, row.steps.end}},
                     {"edit", row.edit}});
  }
  const PlanTotals& t = plan.totals;
  return {{"rows", rows},
          {"norms", norms},
          {"totals",
           {{"sites", t.sites},
            {"planned_sites", t.planned_sites},
            {"network_calls", t.network_calls},
            {"extra_flops", t.extra_flops},
            {"layers_reused", t.layers_reused},
            {"guided_steps", t.guided_steps},
            {"stored_bytes", t.stored_bytes},
            {"kept_bytes", t.kept_bytes}}}};
}

}  // namespace

void add_explain(CLI::App& app) {
  struct Arguments {
    RunRequest request;
    bool json = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("explain", "Print what a preset's methods do to attention, site by site, and what it costs");
  add_run_options(*command, a->request);
  command->add_flag("--json", a->json, "The same as one JSON object");
  command->footer(
      "example:\n  heddle explain presets/attend_and_excite.yaml\n"
      "Each paragraph: sites that share a plan, their tokens, the lanes of the batch, the steps, the tier, the edits "
      "in the\n"
      "order in which they act, and why the site does not run as the network alone would.");
  command->callback([a] {
    const OpenRun run = open_run(a->request);
    const PlanExplanation plan = explain_preset(run.preset, run.path, *run.model);
    std::cout << (a->json ? json_of(plan).dump(1) + "\n" : plan.text);
  });
}

}  // namespace heddle::cli
