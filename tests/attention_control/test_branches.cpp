// Branches of guidance: what is asked of one that an evaluation lacks is refused before the first step.
#include <gtest/gtest.h>

#include "tests/attention_control/planned.h"
#include "tests/attention_control/small_run.h"

namespace heddle {
namespace {

using testing::at;
using testing::Declaration;
using testing::refusal;
using testing::site_at;
using testing::small_run;

TEST(Branches, LanesAndBranchesMustExist) {
  RunShape unguided = small_run();
  unguided.guided = false;
  const auto extend = [](LaneRef ref) { return at("a", 1, Extend{.text = "x", .lane = ref, .terms = {}}); };
  EXPECT_EQ(refusal({extend({.branch = {}, .member = 2})}), "[p.yaml:1 a] wanted a member of the run, 0 to 1; got 2");
  EXPECT_EQ(refusal({extend({.branch = Branch::uncond, .member = {}})}), "composed");
  EXPECT_EQ(refusal({extend({.branch = Branch::uncond, .member = {}})}, unguided),
            "[p.yaml:1 a] wanted a lane that the run evaluates; got uncond; try sampler.guidance above 1");
  EXPECT_NE(refusal({extend({.branch = Branch::perturbed, .member = {}})}), "composed");
  const Declaration adds{"pag", "p.yaml:9", "", [](PlanBuilder& plan) {
                           plan.predictions.push_back({.method = "pag", .scale = [](int, double) { return 1.0; }});
                         }};
  EXPECT_EQ(refusal({extend({.branch = Branch::perturbed, .member = {}}), adds}), "composed");
  EXPECT_NE(refusal({adds, adds}).find("one method that adds the branch perturbed"), std::string::npos);
  const Declaration nowhere{"a", "p.yaml:1", "", [](PlanBuilder& plan) {
                              site_at(plan, 1).on("x").declare(Temper{.tau = 2, .query = {}, .key = {}});
                            }};
  EXPECT_NE(refusal({nowhere}).find("got \"x\""), std::string::npos);
}

TEST(Branches, BranchesThatAnEvaluationLacksAreNotRead) {
  const Declaration reads =
      at("a", 1, Extend{.text = "x", .lane = {.branch = Branch::uncond, .member = {}}, .terms = {}}, {4, 8});
  const auto guide = [](Steps steps) {
    return Declaration{
        "g", "p.yaml:2", "", [=](PlanBuilder& plan) {
          plan.hooks.guides.push_back({.method = "g", .steps = steps, .loss = {}, .length = {}, .decide = {}});
        }};
  };
  EXPECT_EQ(refusal({reads, guide({0, 4})}), "composed");
  EXPECT_EQ(
      refusal({reads, guide({0, 5})}),
      "[plan] wanted the branch uncond that a (p.yaml:1) reads at mid.block0.cross, lane source.cond, steps 4-7; got a "
      "guiding pass or dropped guidance, where cond runs alone; try other steps for one of them");
  const auto drop = [](int step, Branch tail) {
    return Declaration{"t", "p.yaml:3", "", [=](PlanBuilder& plan) {
                         plan.drop_guidance = DropGuidance{"t", step, tail};
                       }};
  };
  EXPECT_EQ(refusal({reads, drop(8, Branch::cond)}), "composed");
  EXPECT_NE(refusal({reads, drop(7, Branch::cond)}), "composed");
  EXPECT_NE(refusal({reads, drop(7, Branch::uncond)}), "composed");  // the reader is gone by then
  const auto guided_in = [](Steps steps) {
    RunShape run = small_run();
    run.guided_steps = steps;
    return run;
  };
  EXPECT_EQ(refusal({reads}, guided_in({4, 8})), "composed");
  EXPECT_NE(refusal({reads}, guided_in({5, 8})), "composed");
  EXPECT_NE(refusal({reads}, guided_in({4, 7})), "composed");
}

TEST(Branches, WhatIsReusedNeedsTheSameBranchesInAllSteps) {
  RunShape run = small_run();
  run.guided_steps = {.begin = 2, .end = 9};
  const Declaration gate{"gate", "p.yaml:3", "", [](PlanBuilder& plan) {
                           site_at(plan, 1).during({0, 1}).declare(Keep{.slot = "x", .text = {}});
                           site_at(plan, 1).during({1}).declare(Reuse{.slot = "x", .absorbs = {}});
                         }};
  EXPECT_EQ(refusal({gate}), "composed");
  EXPECT_EQ(
      refusal({gate}, run),
      "[sampler.guidance_interval] wanted guidance in all steps for gate, which reuses results of earlier ones; got "
      "guidance in steps 2 to 8 of 10; try one of the two");
  run.guided_steps = {.begin = 0, .end = 10};
  EXPECT_EQ(refusal({gate}, run), "composed");
}

TEST(Branches, EditsOfABranchThatGuidanceDroppedAreRefused) {
  const Declaration gate{"gate", "p.yaml:9", "", [](PlanBuilder& plan) {
                           plan.drop_guidance = DropGuidance{.method = "gate", .step = 4, .tail = Branch::uncond};
                         }};
  const Verb warm = Temper{.tau = 0.7, .query = {}, .key = {}};
  EXPECT_EQ(refusal({gate, at("edit", 0, warm, {0, 4})}), "composed");
  EXPECT_EQ(refusal({gate, at("edit", 0, Temper{.tau = 1, .query = {}, .key = {}})}), "composed");
  const std::string said = refusal({gate, at("edit", 0, warm, {2, 8})});
  EXPECT_NE(said.find("the cond branch"), std::string::npos) << said;
  EXPECT_NE(said.find("steps 4-7 for edit"), std::string::npos) << said;
  EXPECT_NE(said.find("gate drops guidance from step 4 on"), std::string::npos) << said;
}

}  // namespace
}  // namespace heddle
