// A method's declarations on a made-up network, and one attention of it with random projections.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/planner.h"
#include "attention_control/plugins/registry.h"
#include "tests/attention_control/small_run.h"

namespace heddle::testing {

// A prompt whose words are cut into as many pieces as `|` in them says: "a ball|oon".
inline PromptTokens pieces(const std::string& marked, int64_t length = 12) {
  PromptTokens out;
  out.length = length;
  std::istringstream words(marked);
  int64_t position = 1;
  for (std::string word; words >> word;) {
    if (!out.text.empty()) out.text += ' ';
    std::istringstream parts(word);
    for (std::string part; std::getline(parts, part, '|'); ++position) {
      const size_t begin = out.text.size();
      out.text += part;
      out.tokens.push_back(
          {position, begin, out.text.size(), static_cast<int64_t>(std::hash<std::string>{}(part) >> 1)});
    }
  }
  out.end = position;
  return out;
}

// Self- and cross-attention at 4x4, layer after layer, for the given prompts.
inline RunShape run_shape(const std::vector<std::pair<std::string, std::string>>& members, int steps = 10,
                          int layers = 4) {
  RunShape run;
  for (int l = 0; l < layers; ++l) {
    for (const AttentionKind kind : {AttentionKind::self, AttentionKind::cross}) {
      AttentionSite site{.name = "layer" + std::to_string(l) + (kind == AttentionKind::self ? ".self" : ".cross"),
                         .kind = kind,
                         .depth = static_cast<int>(run.sites.size()),
                         .heads = 2,
                         .head_dim = 4};
      const TokenSegment image{.name = "image", .height = 4, .width = 4}, text{.name = "text", .width = 12};
      run.tokens.push_back({{image}, {kind == AttentionKind::self ? image : text}});
      run.sites.push_back(site);
    }
  }
  for (const auto& [name, prompt] : members) run.members.push_back({name, pieces(prompt)});
  run.steps = steps;
  run.height = run.width = 4;
  return run;
}

struct Declared {
  std::unique_ptr<Method> method;
  CompiledPlan plan;
};

inline Declared declare(const std::string& name, const std::string& settings, const RunShape& run) {
  AskedMethod asked = make_method(name, parse_yaml(settings, "test.yaml"));
  PlanBuilder builder(run);
  builder.speaks(asked.name, asked.where, asked.over);
  asked.method->declare(builder);
  return {std::move(asked.method), compile(builder)};
}

// Rows: uncond lanes, cond lanes.
inline Projections projections(const RunShape& run, int site, int seed) {
  return random_projections(run, site, 2 * static_cast<int64_t>(run.members.size()), static_cast<uint64_t>(seed));
}

inline Tensor attended(const CompiledPlan* plan, const RunShape& run, int site, const Projections& p, int step = 0) {
  Captures captures;
  Bank bank;
  AttentionContext context{.moment = {.step = step, .steps = run.steps},
                           .lanes = lanes_of(run, {Branch::uncond, Branch::cond}, 1),
                           .plan = plan,
                           .captures = &captures,
                           .bank = &bank};
  return attend(run.sites[static_cast<size_t>(site)], run.tokens[static_cast<size_t>(site)], p.q, p.k, p.v, context);
}

// The values of one row of [R,...].
inline std::vector<float> row_of(const Tensor& x, int64_t row) {
  const std::vector<float> all = x.to_vector();
  const auto each = static_cast<ptrdiff_t>(x.count() / x.dim(0));
  return {all.begin() + row * each, all.begin() + (row + 1) * each};
}

inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, static_cast<double>(std::abs(a[i] - b[i])));
  return most;
}

}  // namespace heddle::testing
