// What explain prints of a plan, word for word, and its totals.
#include "attention_control/plan/explain.h"

#include <gtest/gtest.h>

#include "tests/attention_control/joint_run.h"
#include "tests/attention_control/small_run.h"

namespace heddle {
namespace {

using testing::site_at;

// Two lanes without names, as a run of one prompt has them.
RunShape one_prompt() {
  RunShape run = testing::small_run();
  run.members.pop_back();
  run.members[0].name = "";
  return run;
}

Term words_hidden() {
  std::vector<int64_t> query(35), key(11);
  for (size_t i = 20; i < query.size(); ++i) query[i] = 1;
  for (size_t i = 5; i < key.size(); ++i) key[i] = 1;
  const float table[] = {0, -1, -1, 0};
  return {.text = "mask 2 labels",
          .form = Labels{Tensor::from(std::span<const int64_t>(query), {1, 35}),
                         Tensor::from(std::span<const int64_t>(key), {1, 11}),
                         Tensor::from(std::span<const float>(table), {2, 2})}};
}

PlanBuilder small_plan() {
  PlanBuilder plan(one_prompt());
  plan.speaks("boxes", "p.yaml:3", "");
  site_at(plan, 1).lane(Branch::cond).during({0, 4}).passes({Pass::denoise}).declare(AddScore{words_hidden()});
  site_at(plan, 1)
      .lane(Branch::cond)
      .during({0, 4})
      .passes({Pass::denoise})
      .declare(Capture{.name = "looks", .keys = {2, 3}});
  plan.speaks("style", "p.yaml:9", "");
  site_at(plan, 0)
      .passes({Pass::denoise})
      .declare(Extend{.text = "style k, v", .lane = {.branch = {}, .member = 0}, .log_gain = 0.4, .terms = {}});
  plan.speaks("gate", "p.yaml:12", "");
  site_at(plan, 1).during({4, 5}).passes({Pass::denoise}).declare(Keep{.slot = "cross", .text = "anchor"});
  site_at(plan, 1).during({5}).passes({Pass::denoise}).declare(Reuse{.slot = "cross", .absorbs = {}});
  return plan;
}

TEST(Explain, SaysWhatHoldsWhereAndWhatItCosts) {
  EXPECT_EQ(explain_text(compile(small_plan())),
            "mid.block0.self   image 5x7, 2 heads   lanes cond, uncond   steps 0-9   fused: 2 calls + merge\n"
            "  extend by style k, v, bias 0.4 (style)\n"
            "  not plain: extra source.\n"
            "  each: 157 KFLOP and 9.8 KiB more than plain; the reference tier would hold 19 KiB of scores here\n"
            "mid.block0.cross   image 5x7 at text 11, 2 heads   lane cond   steps 0-3   fused: 1 call + 2-column pass\n"
            "  mask 2 labels (boxes) | capture looks, 2 keys (boxes)\n"
            "  not plain: score terms present, captures read columns.\n"
            "  each: 4.5 KFLOP and 928 B more than plain; the reference tier would hold 6.0 KiB of scores here\n"
            "mid.block0.cross   image 5x7 at text 11, 2 heads   lane all   step 4   plain: 1 call\n"
            "  keep cross (anchor) (gate)\n"
            "  keeps 8.8 KiB\n"
            "mid.block0.cross   image 5x7 at text 11, 2 heads   lane all   steps 5-9   no computation\n"
            "  reuse cross (gate)\n"
            "2 of 4 sites planned; 3.2 MFLOP more over the run; keeps 8.8 KiB of layers; 5 layer evaluations left "
            "out\n");
}

// 56 tokens, 21 of them text, 16 features, two pictures; a text token saves 6000 operations and a row of text 3000.
TEST(Explain, SegmentsThatAreHeldSaveWorkAndTakeMemory) {
  const auto text = [](Held held) {
    PlanBuilder plan(testing::joint_run(testing::Joint::sd3));
    plan.speaks("gate", "p.yaml:3", "");
    for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::joint}, .names = {}, .text = "joint"})) {
      const SiteScope here = site.passes({Pass::denoise});
      here.during({4, 5}).declare(Keep{.slot = "held", .text = {}, .held = held, .segment = "text"});
      here.during({5}).declare(Reuse{.slot = "held", .absorbs = {}, .held = held, .segment = "text"});
    }
    return explain_text(compile(plan));
  };
  const std::string where = "block.00.joint and 2 more   image 5x7 + text 21, 2 heads   lane all   ";
  const std::string sites = "  sites: block.00.joint, block.01.joint, block.02.joint\n";
  EXPECT_EQ(text(Held::keys),
            where + "step 4   plain: 1 call\n  keep held k, v of text (gate)\n" + sites + "  keeps 21 KiB\n" + where +
                "steps 5-9   plain: 1 call, without text\n  reuse held k, v of text (gate)\n" + sites +
                "  each: 409 KFLOP less than plain\n"
                "3 of 4 sites planned; 25 MFLOP less over the run; keeps 63 KiB of layers\n");
  EXPECT_EQ(text(Held::part), where + "step 4   plain: 1 call\n  keep held softmax part of text (gate)\n" + sites +
                                  "  each: 94 KFLOP more than plain; keeps 20 KiB\n" + where +
                                  "steps 5-9   fused: 1 call + merge, without text\n"
                                  "  reuse held softmax part of text (gate)\n" +
                                  sites +
                                  "  each: 503 KFLOP less than plain\n"
                                  "3 of 4 sites planned; 29 MFLOP less over the run; keeps 59 KiB of layers\n");
}

TEST(Explain, SharedGroupNorms) {
  PlanBuilder plan(testing::small_run());
  plan.speaks("style", "p.yaml:3", "");
  plan.shared_norms.push_back({.method = "style", .where = "p.yaml:3", .member = 1, .with = 0});
  EXPECT_EQ(explain_text(compile(plan)),
            "all 5 group norms   lanes target.cond, target.uncond   steps 0-9\n"
            "  mean and variance over own maps and those of source (style)\n"
            "0 of 4 sites planned\n");
  const std::vector<NormRow> rows = explain_norms(compile(plan));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].norms, 5);
  EXPECT_EQ(rows[0].steps, (Steps{0, 10}));
}

TEST(Explain, RawMapsComeFromAPlainCallBeside) {
  PlanBuilder plan(one_prompt());
  plan.speaks("maps", "p.yaml:3", "");
  site_at(plan, 1)
      .lane(Branch::cond)
      .passes({Pass::denoise})
      .declare(Capture{.name = "looks", .keys = {2}, .raw = true});
  EXPECT_EQ(explain_text(compile(plan)),
            "mid.block0.cross   image 5x7 at text 11, 2 heads   lane cond   steps 0-9   fused: 1 call + a plain call "
            "for 1 raw "
            "column\n"
            "  capture looks, 1 key, raw (maps)\n"
            "  not plain: captures read columns.\n"
            "  each: 52 KFLOP and 10 KiB more than plain; the reference tier would hold 6.0 KiB of scores here\n"
            "1 of 4 sites planned; 515 KFLOP more over the run\n");
}

TEST(Explain, TotalsCountEveryCallOfTheNetwork) {
  RunShape run = one_prompt();
  const auto totals_of = [&] {
    PlanBuilder plan(run);
    plan.speaks("maps", "p.yaml:3", "");
    site_at(plan, 1)
        .lane(Branch::cond)
        .passes({Pass::denoise})
        .during({2, 5})
        .declare(Capture{.name = "looks", .keys = {2}});
    return totals(compile(plan));
  };
  const PlanTotals once = totals_of();
  EXPECT_EQ(once.network_calls, run.steps);
  run.calls.assign(static_cast<size_t>(run.steps), 2);  // as Heun's solver, whose last step has one
  run.calls.back() = 1;
  EXPECT_EQ(totals_of().network_calls, 2 * run.steps - 1);
  EXPECT_EQ(totals_of().extra_flops, 2 * once.extra_flops);
}

TEST(Explain, AnIdentityBranchAloneNeedsNoSoftmax) {
  PlanBuilder plan(one_prompt());
  plan.speaks("pag", "p.yaml:3", "");
  const SiteScope here = site_at(plan, 0).lane(Branch::cond).passes({Pass::denoise});
  here.declare(Weigh{.text = "", .constant = 0});
  here.declare(AddBranch{.name = "identity", .weight = 1, .identity = true});
  const std::vector<PlanRow> rows = explain(compile(plan));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].calls, 0);
  EXPECT_LT(rows[0].extra_flops, 0);
  EXPECT_FALSE(rows[0].reused);
  EXPECT_NE(explain_text(compile(plan)).find("steps 0-9   fused: no softmax\n"), std::string::npos);
  EXPECT_NE(explain_text(compile(plan)).find("less over the run"), std::string::npos);
}

TEST(Explain, TiersSayWhyNot) {
  EXPECT_TRUE(why_not(Tier::plain, nullptr).empty());
  EXPECT_EQ(tier_of(nullptr), Tier::plain);
  PlanBuilder plan(one_prompt());
  plan.speaks("a", "p.yaml:3", "");
  const SiteScope here = site_at(plan, 0).lane(Branch::cond);
  here.declare(Temper{.tau = 2, .query = {}, .key = {}});
  here.declare(Gain{"gain", Tensor::full({35}, 2)});
  here.declare(Shaping{Role::q, {.text = "blur", .apply = {}}});
  here.declare(Weigh{.text = "", .constant = 0.5});
  using Sentences = std::vector<std::string>;
  const CompiledPlan fused = compile(plan);
  const Program* program = fused.program(0, {}, {.step = 0, .steps = 10});
  EXPECT_EQ(why_not(Tier::plain, program),
            (Sentences{"temperature present", "output weighed", "q, k or v changed", "gains present"}));
  EXPECT_TRUE(why_not(Tier::fused, program).empty());
  here.declare(Rewrite{.reason = "the map is blurred", .apply = {}});
  const CompiledPlan slow = compile(plan);
  program = slow.program(0, {}, {.step = 0, .steps = 10});
  EXPECT_EQ(why_not(Tier::fused, program), (Sentences{"the map is rewritten: the map is blurred"}));
  EXPECT_EQ(tier_of(program), Tier::reference);
  EXPECT_NE(explain_text(slow).find("reference: 1 call\n"), std::string::npos);
  EXPECT_NE(explain_text(slow).find("; holds 19 KiB of scores here\n"), std::string::npos);
}

TEST(Explain, MoreTermsThanTheKernelTakesFallToTheReference) {
  PlanBuilder plan(one_prompt());
  plan.speaks("a", "p.yaml:3", "");
  const SiteScope here = site_at(plan, 0).lane(Branch::cond);
  for (int i = 0; i < 9; ++i)
    here.declare(AddScore{{.text = "column " + std::to_string(i), .form = Column{Tensor::full({1, 35}, 1)}}});
  EXPECT_EQ(explain(compile(plan))[0].tier, Tier::fused);  // columns are one term
  for (int i = 0; i < 8; ++i)
    here.declare(AddScore{{.text = "row " + std::to_string(i), .form = Row{Tensor::full({1, 35}, 1)}}});
  const CompiledPlan many = compile(plan);
  EXPECT_EQ(explain(many)[0].tier, Tier::reference);
  EXPECT_EQ(explain(many)[0].not_plain.back(), "more than 8 score terms in one softmax");
}

TEST(Explain, TotalsOfAGuidedRun) {
  PlanBuilder plan(one_prompt());
  plan.speaks("a", "p.yaml:3", "");
  site_at(plan, 1)
      .lane(Branch::cond)
      .during({0, 3})
      .passes({Pass::guide})
      .declare(Capture{.name = "looks", .keys = {2, 3}});
  EXPECT_EQ(explain_text(compile(plan)), "1 of 4 sites planned\n");  // no loss, no guiding pass
  plan.hooks.guides.push_back({.method = "a", .steps = {0, 1}, .loss = {}, .length = {}, .decide = {}});
  plan.drop_guidance = DropGuidance{.method = "a", .step = 6, .tail = Branch::cond};
  EXPECT_EQ(explain_text(compile(plan)),
            "mid.block0.cross   image 5x7 at text 11, 2 heads   lane cond   steps 0-2, guiding pass   fused: 1 call + "
            "2-column "
            "pass\n"
            "  capture looks, 2 keys (a)\n"
            "  not plain: captures read columns.\n"
            "  each: 2.2 KFLOP and 280 B more than plain; the reference tier would hold 3.0 KiB of scores here\n"
            "1 of 4 sites planned; latents guided in 1 step; guidance dropped from step 6 on (cond alone)\n");
}

TEST(Explain, SaysWhereGuidanceHolds) {
  RunShape run = one_prompt();
  run.guided_steps = {.begin = 2, .end = 9};
  EXPECT_EQ(explain_text(compile(PlanBuilder(run))), "0 of 4 sites planned; guidance in steps 2-8 alone\n");
}

}  // namespace
}  // namespace heddle
