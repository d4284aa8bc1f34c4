// The fused tier is the reference tier, values and gradients: every verb, every method, and random pairs and triples.
#include <gtest/gtest.h>

#include "attention_control/plugins/registry.h"
#include "kernels/core/error.h"
#include "tests/attention_control/evaluation.h"
#include "tests/attention_control/synthetic.h"

namespace heddle {
namespace {

using testing::Evaluated;
using testing::Synthetic;

// Settings under which each method acts on the made-up run; a new method needs a line here.
const std::vector<std::pair<std::string, std::string>> method_settings{
    {"a_star", "{concept_tokens: [cat, dog], attention_res: 7}"},
    {"attend_and_excite", "{subject_tokens: [cat, dog], attention_res: 7}"},
    {"attention_modulation", "{groups: [{noun: cat}, {noun: dog}], other_policy: hide}"},
    {"attention_modulation", "{groups: [{noun: cat}, {noun: dog, attributes: a}], reweight_at: probs}"},
    {"bounded_attention",
     "{subject_tokens: [cat, dog], boxes: [[0, 0, 0.5, 1], [0.5, 0.2, 1, 0.8]], loss_layers: [mid], mask_layers: "
     "[mid]}"},
    {"masactrl", "{source: {prompt: a cat}, target_prompt: a dog, start_step: 0, start_layer: 0}"},
    {"masactrl", "{source: {prompt: a cat}, target_prompt: a dog, start_step: 0, start_layer: 0, variant: union}"},
    {"masactrl",
     "{source: {prompt: a red cat and a blue dog}, target_prompt: a green cat and a small dog, start_step: 0, layers: "
     "[0]}"},
    {"masactrl",
     "{source: {prompt: a red cat and a blue dog}, target_prompt: a green cat and a small dog, start_step: 0, layers: "
     "[mid], variant: union}"},
    {"perturbed_attention", "{}"},
    {"perturbed_attention", "{perturbation: blur, blur_sigma: 1.5}"},
    {"prompt_to_prompt", "{source_prompt: a cat, target_prompt: a dog, edit: replace}"},
    {"rf_edit", "{inject_steps: 8}"},
    {"rf_edit", "{inject_steps: 8, share: [v, q, k], strength: 0.6, tokens: image, boxes: [[0, 0.2, 0.5, 1]]}"},
    {"rf_edit", "{inject_steps: 8, share: [k], mode: add, storage: f16}"},
    {"style_aligned", "{prompts: [a cat, a dog], reference_gain: {shift: 0.5, scale: 0.8}}"},
    {"style_aligned", "{prompts: [a cat, a dog], share: {mode: full}}"},
    {"style_aligned", "{prompts: [a cat, a dog], share: {group_norm: true, adain: {v: true}}}"},
    {"prompt_to_prompt",
     "{source_prompt: a red cat and a blue dog, target_prompt: a green cat and a small dog, edit: replace, "
     "weights: {cat: 2}}"},
    {"prompt_to_prompt",
     "{source_prompt: a red cat and a blue dog, target_prompt: a green cat and a small dog, edit: refine}"},
    {"spotlight", "{words: cat, dim: 0.3}"},  // of test_add_a_method.cpp
    {"style_aligned", "{prompts: [a red cat and a blue dog, a green cat and a small dog]}"},
    {"style_aligned", "{prompts: [a red cat and a blue dog, a green cat and a small dog], share: {mode: full}}"},
    {"tgate", "{gate_step: 4, warm_up: 1, sp_interval: 3, fi_interval: 2}"}};

// The same on the made-up transformers; methods that ask for nothing special act there with the settings above, too.
const std::vector<std::pair<std::string, std::string>> joint_settings{
    {"a_star", "{concept_tokens: [cat, dog], layers: [\"0..0.5\"]}"},
    {"attention_modulation", "{groups: [{noun: cat}, {noun: dog, attributes: a}], other_policy: hide}"},
    {"attention_modulation",
     "{groups: [{noun: cat}, {noun: dog}], self_temperature: {value: 0.6, until: 1, keep_text_mass: true}, "
     "object_mask: {share: own, score: sum}, reweight_at: probs}"},
    {"attend_and_excite", "{subject_tokens: [cat, dog], attention_res: 7}"},
    {"bounded_attention",
     "{subject_tokens: [cat, dog], boxes: [[0, 0, 0.5, 1], [0.5, 0.2, 1, 0.8]], isolate_words: true}"},
    {"rf_edit", "{inject_steps: 8, inject_blocks: [0, 1], share: [v, k], tokens: image}"},
    {"perturbed_attention", "{}"},
    {"perturbed_attention", "{perturbation: blur, blur_sigma: 1.5, layers: [\"0..1\"]}"},
    {"masactrl",
     "{source: {prompt: a red cat and a blue dog}, target_prompt: a green cat and a small dog, start_step: 0}"},
    {"masactrl",
     "{source: {prompt: a red cat and a blue dog}, target_prompt: a green cat and a small dog, start_step: 0, layers: "
     "[0, 2], variant: union}"},
    {"masactrl",
     "{source: {prompt: a red cat and a blue dog}, target_prompt: a green cat and a small dog, start_step: 0, variant: "
     "mask, masks: {source: [[1, 0], [1, 1]], target: [[0, 1], [0, 1]]}}"},
    {"prompt_to_prompt",
     "{source_prompt: a red cat and a blue dog, target_prompt: a green cat and a small dog, weights: {cat: 2, dog: "
     "-1}}"},
    {"prompt_to_prompt",
     "{source_prompt: a red cat and a blue dog, target_prompt: a green cat and a small dog, inject: maps}"},
    {"style_aligned",
     "{prompts: [a red cat and a blue dog, a green cat and a small dog], reference_gain: {shift: 0.5, scale: 0.8}}"},
    {"style_aligned", "{prompts: [a red cat and a blue dog, a green cat and a small dog], share: {mode: full}}"},
    {"tgate", "{gate_step: 4, warm_up: 1, fi_interval: 2}"},
    {"tgate", "{gate_step: 4, sp_interval: 1, text: freeze}"},
    {"tgate", "{gate_step: 4, sp_interval: 1, anchor: cond, text: partial}"},
    {"spotlight", "{words: cat, dim: 0.3}"}};

// A method of the registry or, without settings, a random edit.
struct Part {
  std::string name, settings;
  int verb = 0;
  uint64_t seed = 0;
};

// A plan, and the methods that it points into.
struct Planned {
  std::vector<std::unique_ptr<Method>> methods;
  CompiledPlan plan;
};

Planned planned(const std::vector<Part>& parts, const RunShape& run) {
  Planned out;
  PlanBuilder builder(run);
  for (const Part& part : parts) {
    builder.speaks(part.name, "p.yaml:1", "");
    if (part.settings.empty()) {
      Synthetic(part.seed).declare(builder, part.verb);
    } else {
      out.methods.push_back(make_method(part.name, parse_yaml(part.settings, "p.yaml")).method);
      out.methods.back()->declare(builder);
    }
  }
  out.plan = compile(builder);
  return out;
}

struct Worst {
  testing::Distance values, maps, gradients;
  void add(const Worst& other) {
    values.add(other.values);
    maps.add(other.maps);
    gradients.add(other.gradients);
  }
};

Worst compare(CompiledPlan& plan, const Moment& moment, DType dtype, uint64_t seed) {
  plan.least = Tier::plain;
  const Evaluated fused = testing::evaluate(plan, moment, dtype, seed);
  plan.least = Tier::reference;
  const Evaluated reference = testing::evaluate(plan, moment, dtype, seed);
  return {testing::distance(fused.outs, reference.outs), testing::distance(fused.maps, reference.maps),
          testing::distance(fused.gradients, reference.gradients)};
}

// Both passes at an early and a late step.
Worst compare(const std::vector<Part>& parts, DType dtype, uint64_t seed, const RunShape& run = testing::small_run()) {
  Planned planned_parts = planned(parts, run);
  Worst worst;
  for (const Pass pass : {Pass::denoise, Pass::guide}) {
    for (const int step : {0, 6})
      worst.add(compare(planned_parts.plan, {.step = step, .steps = 10, .pass = pass}, dtype, seed));
  }
  return worst;
}

std::string text_of(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& p : parts) text += (text.empty() ? "" : " + ") + p.name + p.settings;
  return text;
}

void expect_f32(const std::vector<Part>& parts, const Worst& worst) {
  EXPECT_LE(worst.values.largest, 1e-4) << text_of(parts);
  EXPECT_LE(worst.maps.largest, 1e-4) << text_of(parts);
  EXPECT_LE(worst.gradients.largest, 1e-3) << text_of(parts);
}

void report(const char* what, const Worst& worst) {
  std::printf(
      "  %s, over the deviation: worst outputs %.1e, maps %.1e, gradients %.1e; root mean square %.1e, %.1e, %.1e\n",
      what, worst.values.largest, worst.maps.largest, worst.gradients.largest, worst.values.typical, worst.maps.typical,
      worst.gradients.typical);
}

Part synthetic(int verb, uint64_t seed) {
  return {
      .name = "verb" + std::to_string(verb) + "." + std::to_string(seed), .settings = "", .verb = verb, .seed = seed};
}

TEST(Tiers, EveryVerbAlone) {
  Worst worst;
  for (int verb = 0; verb < Synthetic::verbs; ++verb) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const std::vector<Part> parts{synthetic(verb, seed)};
      const Worst one = compare(parts, DType::f32, seed);
      expect_f32(parts, one);
      worst.add(one);
    }
  }
  report("f32", worst);
}

TEST(Tiers, EveryMethodOnJointAttention) {
  Worst worst;
  std::set<std::string> seen;
  for (const auto& [name, settings] : joint_settings) seen.insert(name);
  for (const std::string& name : method_names())
    EXPECT_TRUE(seen.contains(name)) << "joint_settings has no line for " << name;
  for (const testing::Joint like : {testing::Joint::sd3, testing::Joint::flux}) {
    for (const auto& [name, settings] : joint_settings) {
      const std::vector<Part> parts{{.name = name, .settings = settings}};
      const Worst one = compare(parts, DType::f32, 5, testing::joint_run(like));
      expect_f32(parts, one);
      worst.add(one);
    }
  }
  report("f32", worst);
}

TEST(Tiers, EveryMethod) {
  Worst worst;
  std::set<std::string> seen;
  for (const auto& [name, settings] : method_settings) {
    seen.insert(name);
    const std::vector<Part> parts{{.name = name, .settings = settings}};
    const Worst one = compare(parts, DType::f32, 5);
    expect_f32(parts, one);
    worst.add(one);
  }
  for (const std::string& name : method_names())
    EXPECT_TRUE(seen.contains(name)) << "method_settings has no line for " << name;
  report("f32", worst);
}

// Both tiers read the same rounded q, k and v, and the reference computes in f32. What differs is the rounding of P and
// of each partial result and gradient: one or two epsilon typically, and some epsilon for the worst of 10^5 numbers.
TEST(Tiers, Bf16WithinItsEpsilon) {
  constexpr double epsilon = 1.0 / 256;
  Worst worst;
  for (int verb = 0; verb < Synthetic::verbs; ++verb) {
    for (uint64_t seed = 0; seed < 4; ++seed) worst.add(compare({synthetic(verb, seed)}, DType::bf16, seed));
  }
  for (const auto& [name, settings] : method_settings)
    worst.add(compare({{.name = name, .settings = settings}}, DType::bf16, 5));
  report("bf16", worst);
  EXPECT_LE(worst.values.typical, 2 * epsilon);
  EXPECT_LE(worst.values.largest, 16 * epsilon);
  EXPECT_LE(worst.maps.largest, epsilon);
  EXPECT_LE(worst.gradients.typical, 4 * epsilon);
  EXPECT_LE(worst.gradients.largest, 48 * epsilon);
}

// Random pairs and triples of methods and edits: each composes with equal tiers, or is refused with a reason.
void pairs_and_triples(const std::vector<std::pair<std::string, std::string>>& methods,
                       const std::vector<RunShape>& runs, int least_refused) {
  std::mt19937_64 random(2024);
  int composed = 0, refused = 0;
  Worst worst;
  for (uint64_t round = 0; round < 200; ++round) {
    std::vector<Part> parts;
    for (uint64_t i = 0, count = 2 + random() % 2; i < count; ++i) {
      if (random() % 5 < 2) {
        const auto& [name, settings] = methods[random() % methods.size()];
        const bool twice = std::ranges::any_of(parts, [&](const Part& p) { return p.name == name; });
        if (!twice) parts.push_back({.name = name, .settings = settings});
      } else {
        parts.push_back(synthetic(static_cast<int>(random() % Synthetic::verbs), random() % 10000));
      }
    }
    try {
      const Worst one = compare(parts, DType::f32, round, runs[round % runs.size()]);
      expect_f32(parts, one);
      worst.add(one);
      ++composed;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << text_of(parts) << ": " << error.what();
      EXPECT_EQ(std::string(error.what()).substr(0, 6), "[plan]") << text_of(parts) << ": " << error.what();
      ++refused;
    }
  }
  std::printf("  %d composed, %d refused\n", composed, refused);
  report("f32", worst);
  EXPECT_GE(composed, 140);
  EXPECT_GE(refused, least_refused);
}

TEST(Tiers, RandomPairsAndTriples) {
  pairs_and_triples(method_settings, {testing::small_run()}, 1);
}

TEST(Tiers, RandomPairsAndTriplesOnJointAttention) {
  pairs_and_triples(joint_settings, {testing::joint_run(testing::Joint::sd3), testing::joint_run(testing::Joint::flux)},
                    1);
}

}  // namespace
}  // namespace heddle
