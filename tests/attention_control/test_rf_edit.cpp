// RF-Edit on made-up sites: what is stored and recalled, under which key, at which sites, and what it costs.
#include "attention_control/plan/explain.h"
#include "kernels/core/error.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rotary.h"
#include "tests/attention_control/attend_call.h"
#include "tests/attention_control/declared.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

using testing::declare;
using testing::Declared;
using testing::Projections;
using testing::random_projections;
using testing::same_bits;

// Two double-stream and four single-stream blocks of 3 text tokens and a picture of 2x4; one prompt, 10 steps of two
// stages, the inversion's first stage in the cleanest step alone, as FireFlow's.
RunShape flux_like() {
  RunShape run;
  for (int i = 0; i < 6; ++i) {
    const std::string name = (i < 2 ? "double." : "single.") + std::string("0") + std::to_string(i < 2 ? i : i - 2);
    run.sites.push_back({.name = name + ".joint", .kind = AttentionKind::joint, .depth = i, .heads = 2, .head_dim = 4});
    const TokenLayout both{{.name = "text", .width = 3}, {.name = "image", .height = 2, .width = 4}};
    run.tokens.push_back({both, both});
  }
  run.members = {{"", testing::pieces("a cat", 3)}};
  run.steps = 10;
  run.source.stages.assign(10, 1);
  run.source.stages.back() = 2;
  return run;
}

struct Passing {
  explicit Passing(const Declared& declared) : plan(declared.plan), run(plan.run()) {}

  Tensor operator()(Pass pass, int step, int stage, int site, const Projections& p, const Rotary& rotary = {}) {
    AttentionContext context{.moment = {.step = step, .steps = run.steps, .stage = stage, .pass = pass},
                             .lanes = {{.name = "cond", .begin = 0, .end = p.q.dim(0)}},
                             .plan = &plan,
                             .captures = &captures,
                             .bank = &bank};
    return attend(run.sites[static_cast<size_t>(site)], run.tokens[static_cast<size_t>(site)], p.q, p.k, p.v, context,
                  rotary);
  }

  const CompiledPlan& plan;
  const RunShape& run;
  Captures captures;
  Bank bank;
};

Tensor plain(const Projections& p) {
  return attention(p.q, p.k, p.v, {}).out;
}

std::set<std::string> sites_of(const CompiledPlan& plan, Pass pass) {
  std::set<std::string> out;
  for (const CompiledPlan::Section& s : plan.sections()) {
    if (s.pass == pass) out.insert(plan.run().sites[static_cast<size_t>(s.site)].name);
  }
  return out;
}

std::string refusal(const std::string& settings, const RunShape& run = flux_like(), ErrorCode code = ErrorCode::usage) {
  return testing::refusal_of([&] { declare("rf_edit", settings, run); }, "composed", code);
}

TEST(RfEdit, ActsInTheLastBlocksOfSingleStreams) {
  const std::set<std::string> half{"single.02.joint", "single.03.joint"};
  const Declared d = declare("rf_edit", "{}", flux_like());
  EXPECT_EQ(sites_of(d.plan, Pass::invert), half);
  EXPECT_EQ(sites_of(d.plan, Pass::denoise), half);
  for (const CompiledPlan::Section& s : d.plan.sections()) EXPECT_EQ(s.steps, (Steps{0, 2}));
  const RunShape unet = [] {
    RunShape run = testing::run_shape({{"", "a cat"}});
    for (size_t i = 4; i < 8; ++i) run.sites[i].name = "up." + run.sites[i].name;
    run.source.stages.assign(10, 1);
    return run;
  }();
  EXPECT_EQ(sites_of(declare("rf_edit", "{inject_blocks: [0, 1]}", unet).plan, Pass::invert),
            (std::set<std::string>{"up.layer2.self", "up.layer3.self"}));
}

TEST(RfEdit, RecallsTheValuesOfTheSameStepAndStage) {
  const Declared d = declare("rf_edit", "{inject_steps: 2}", flux_like());
  Passing pass(d);
  const Projections source = random_projections(pass.run, 5, 1, 3), target = random_projections(pass.run, 5, 2, 4);
  EXPECT_TRUE(same_bits(pass(Pass::invert, 1, 1, 5, source), plain(source))) << "storing changes nothing";
  const Tensor both = repeat(source.v, 0, 2);
  EXPECT_TRUE(same_bits(pass(Pass::denoise, 1, 1, 5, target), plain({target.q, target.k, both})));
  EXPECT_TRUE(same_bits(pass(Pass::denoise, 1, 0, 5, target), plain(target))) << "no such stage was inverted";
  EXPECT_TRUE(same_bits(pass(Pass::denoise, 0, 1, 5, target), plain(target))) << "nor such a step";
  EXPECT_TRUE(same_bits(pass(Pass::denoise, 2, 1, 5, target), plain(target))) << "too late";
  EXPECT_EQ(pass.bank.bytes(), source.v.count() * 4);
}

// Replacing q, k and v by those of the same evaluation changes no bit, with rotary positions too.
TEST(RfEdit, ItsOwnProjectionsChangeNothing) {
  for (const char* settings : {"{share: [v]}", "{share: [q, k, v]}", "{share: [q, v], tokens: image}",
                               "{share: [v, k], boxes: [[0.1, 0.4, 0.9, 1]]}"}) {
    const Declared d = declare("rf_edit", settings, flux_like());
    Passing pass(d);
    const Projections p = random_projections(pass.run, 4, 1, 9);
    std::vector<double> angles(11 * 2);
    for (size_t i = 0; i < angles.size(); ++i) angles[i] = 0.3 * static_cast<double>(i);
    const Rotary rotary = rotary_tables(angles, 11);
    pass(Pass::invert, 0, 1, 4, p, rotary);
    const Tensor out = pass(Pass::denoise, 0, 1, 4, p, rotary);
    AttentionContext none;
    EXPECT_TRUE(same_bits(out, attend(pass.run.sites[4], pass.run.tokens[4], p.q, p.k, p.v, none, rotary))) << settings;
  }
}

TEST(RfEdit, SharesInsideARegion) {
  const Declared d = declare("rf_edit", "{boxes: [[0, 0, 0.5, 1]], tokens: image, strength: 0.25}", flux_like());
  Passing pass(d);
  const Projections source = random_projections(pass.run, 4, 1, 3), target = random_projections(pass.run, 4, 1, 4);
  pass(Pass::invert, 0, 0, 4, source);
  const Tensor inside =
      testing::where(11, [](int64_t t) { return t == 3 || t == 4 || t == 7 || t == 8; });  // columns 0, 1 of both rows
  const Tensor weight = scale(reshape(inside, {1, 11, 1, 1}), 0.25);
  const Tensor v = add(target.v, multiply(weight, subtract(source.v, target.v)));
  testing::expect_near(pass(Pass::denoise, 0, 0, 4, target), plain({target.q, target.k, v}));
  EXPECT_EQ(pass.bank.bytes(), 4 * 2 * 4 * 4) << "only what is recalled is stored";
}

TEST(RfEdit, IsPricedAndPlainAtZero) {
  const Declared d = declare("rf_edit", "{inject_steps: 10, storage: bf16}", flux_like());
  // 11 evaluations of 2 sites, 11 tokens, 2 heads of 4 channels, 2 bytes.
  EXPECT_EQ(totals(d.plan).stored_bytes, 11 * 2 * 11 * 8 * 2);
  EXPECT_NE(explain_text(d.plan).find("stores 3.8 KiB of the inversion"), std::string::npos) << explain_text(d.plan);
  EXPECT_TRUE(declare("rf_edit", "{inject_steps: 0}", flux_like()).plan.sections().empty());
  EXPECT_TRUE(declare("rf_edit", "{strength: 0}", flux_like()).plan.sections().empty());
  EXPECT_EQ(declare("rf_edit", "{inject_steps: 0.001}", flux_like()).plan.sections().front().steps, (Steps{0, 1}));
}

TEST(RfEdit, RefusesWhatItCannotDo) {
  RunShape no_source = flux_like();
  no_source.source = {};
  EXPECT_NE(refusal("{}", no_source).find("an inverted picture to store from"), std::string::npos);
  EXPECT_NE(refusal("{inject_steps: 11}").find("to 10, or a share below 1"), std::string::npos);
  EXPECT_NE(refusal("{inject_steps: 1.5}").find("a whole number"), std::string::npos);
  EXPECT_NE(refusal("{inject_blocks: [0.5, 0.5]}").find("from below to"), std::string::npos);
  EXPECT_NE(refusal("{inject_blocks: [0.9, 0.1]}").find("from below to"), std::string::npos);
  EXPECT_NE(refusal("{share: []}").find("one of q, k, v"), std::string::npos);
  EXPECT_NE(refusal("{mask: [[0, 0]], tokens: image}").find("the mask is black"), std::string::npos);
  EXPECT_NE(refusal("{boxes: [[0.9, 0.1, 0.2, 0.5]]}").find("x0 below x1"), std::string::npos);
  EXPECT_NE(refusal("{mask: [[0, 2]]}").find("0 to 1"), std::string::npos);
  EXPECT_NE(refusal("{mask: none.png}", flux_like(), ErrorCode::input).find("none.png"), std::string::npos);
}

TEST(RfEdit, ClaimsTheRolesThatItRecalls) {
  PlanBuilder builder(flux_like());
  const AskedMethod asked = make_method("rf_edit", parse_yaml("{}", "p.yaml"));
  builder.speaks("rf_edit", "p.yaml:1", "");
  asked.method->declare(builder);
  builder.speaks("other", "p.yaml:2", "");
  testing::site_at(builder, 5).declare(Take{.role = Role::v, .lane = {.branch = Branch::uncond, .member = {}}});
  try {
    compile(builder);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("one method to take v at single.03.joint"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace heddle
