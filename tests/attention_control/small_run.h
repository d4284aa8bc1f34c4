// A small made-up run of all kinds of sites with odd grids, for the tests of plans: two members, two pictures, guided.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/builder.h"
#include "attention_control/plan/planner.h"

namespace heddle::testing {

inline Tensor random_tensor(const Shape& shape, uint64_t seed, double deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, deviation);
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (float& v : values) v = static_cast<float>(normal(random));
  return Tensor::from(std::span<const float>(values), shape);
}

inline PromptTokens prompt_tokens(const std::string& text, int64_t length) {
  PromptTokens out{.text = text, .tokens = {}, .end = 0, .length = length};
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const auto id = static_cast<int64_t>(std::hash<std::string>{}(text.substr(at, end - at)) >> 1);
    out.tokens.push_back({.position = static_cast<int64_t>(out.tokens.size()) + 1, .begin = at, .end = end, .id = id});
    at = end + 1;
  }
  out.end = static_cast<int64_t>(out.tokens.size()) + 1;
  return out;
}

// Sites 0 self, 1 cross, 2 joint, 3 temporal. It may begin from an inverted picture.
inline RunShape small_run(int steps = 10) {
  const TokenSegment image{.name = "image", .frames = 1, .height = 5, .width = 7};
  const TokenSegment text{.name = "text", .frames = 1, .height = 1, .width = 11};
  const TokenSegment frames{.name = "image", .frames = 3, .height = 2, .width = 3};
  RunShape run;
  const auto site = [&](const char* name, AttentionKind kind, const TokenLayout& query, const TokenLayout& key) {
    const int depth = static_cast<int>(run.sites.size());
    run.sites.push_back(
        {.name = name, .kind = kind, .depth = depth, .heads = 2, .head_dim = 8, .scale = 0, .causal = false});
    run.tokens.push_back({query, key});
  };
  site("mid.block0.self", AttentionKind::self, {image}, {image});
  site("mid.block0.cross", AttentionKind::cross, {image}, {text});
  site("double.0.joint", AttentionKind::joint, {text, image}, {text, image});
  site("up.0.temporal", AttentionKind::temporal, {frames}, {frames});
  run.group_norms = 5;
  run.members = {{.name = "source", .words = prompt_tokens("a red cat and a blue dog", 11)},
                 {.name = "target", .words = prompt_tokens("a green cat and a small dog", 11)}};
  run.steps = steps;
  run.pictures = 2;
  run.source.stages.assign(static_cast<size_t>(steps), 1);
  run.height = 20;
  run.width = 28;
  return run;
}

inline std::vector<Lane> lanes_of(const RunShape& run, const std::vector<Branch>& branches, int64_t pictures) {
  std::vector<Lane> lanes;
  int64_t row = 0;
  for (const Branch branch : branches) {
    for (size_t m = 0; m < run.members.size(); ++m, row += pictures)
      lanes.push_back({.name = run.members[m].name + "." + name_of(branch),
                       .branch = branch,
                       .member = static_cast<int>(m),
                       .begin = row,
                       .end = row + pictures,
                       .picture = 0});
  }
  return lanes;
}

struct Projections {
  Tensor q, k, v;
};

inline Projections random_projections(const RunShape& run, int site, int64_t rows, uint64_t seed) {
  const AttentionSite& at = run.sites[static_cast<size_t>(site)];
  const SiteTokens& tokens = run.tokens[static_cast<size_t>(site)];
  const Shape query{rows, token_count(tokens.query), at.heads, at.head_dim};
  const Shape key{rows, token_count(tokens.key), at.heads, at.head_dim};
  return {random_tensor(query, 3 * seed, 1.5), random_tensor(key, 3 * seed + 1, 1.5), random_tensor(key, 3 * seed + 2)};
}

inline SiteScope site_at(PlanBuilder& plan, int site) {
  return plan.sites({.kinds = {}, .names = {plan.run().sites[static_cast<size_t>(site)].name}, .text = "a site"})
      .front();
}

}  // namespace heddle::testing
