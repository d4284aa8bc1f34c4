// The planner: order does not matter where edits commute, claims that exclude each other are refused in words, neutral
// edits leave nothing, and what cannot work is said before the first step.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/error.h"
#include "tests/attention_control/joint_run.h"
#include "tests/attention_control/planned.h"
#include "tests/attention_control/small_run.h"

namespace heddle {
namespace {

using testing::at;
using testing::built;
using testing::Declaration;
using testing::fingerprint;
using testing::refusal;
using testing::site_at;
using testing::small_run;

Tensor ones_where(int64_t count, int64_t begin, int64_t end) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] = 1;
  return Tensor::from(std::span<const float>(values), {count});
}

Tensor factors(float first) {
  std::vector<float> values(11, 1.0f);
  values[0] = first;
  return Tensor::from(std::span<const float>(values), {11});
}

const ShapeFn same_k{.text = "itself", .apply = [](const Tensor& x, const LaneTensors&) { return x; }};

// One of each verb whose order does not matter, at the cross site.
std::vector<Verb> commuting_verbs() {
  const auto number = [](int64_t id) { return Tensor::full({1, id}, 0.5f); };
  return {
      Temper{.tau = 0.7, .query = {}, .key = {}},
      Temper{.tau = 1.3, .query = "image", .key = "text"},
      AddScore{{.text = "columns", .form = Column{number(11)}}},
      AddScore{{.text = "rows", .form = Row{number(35)}}},
      AddScore{{.text = "made",
                .form = SegmentPair{},
                .at_run_time = [](const TermPlace&) { return std::vector<TermForm>{}; }}},
      Gain{"gain of a word", factors(2)},
      Extend{.text = "the source", .lane = {.branch = {}, .member = 0}, .log_gain = 0.4, .key_scale = 1, .terms = {}},
      AddBranch{.name = "extra", .weight = 0.5},
      Weigh{.text = "", .constant = 0.8},
      Weigh{.text = "router",
            .constant = 1,
            .at_run_time =
                [](const TermPlace&) {
                  return Tensor::full({1, 35}, 0.5f);
                }},
      Take{.role = Role::k, .lane = {.branch = {}, .member = 0}},
      Take{.role = Role::v, .lane = {.branch = {}, .member = 0}, .region = ones_where(35, 0, 7)},
      Capture{.name = "looks", .keys = {2, 3}},
      Capture{.name = "looks", .keys = {4}, .mean_over_heads = false, .raw = true},
      Rewrite{.reason = "a test", .apply = [](const Tensor& map, const LaneTensors&) { return map; }},
      Keep{.slot = "kept", .text = {}}};
}

TEST(Planner, CommutingEditsGiveOnePlanInAnyOrder) {
  std::mt19937 random(7);
  const std::vector<Verb> verbs = commuting_verbs();
  const Steps steps[] = {{}, {0, 4}, {3, 7}};
  int programs = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<size_t> chosen(verbs.size());
    for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = i;
    std::ranges::shuffle(chosen, random);
    chosen.resize(2 + random() % 5);
    std::vector<Declaration> methods;
    for (const size_t i : chosen) {
      Verb verb = verbs[i];
      if (auto* keep = std::get_if<Keep>(&verb)) keep->slot += std::to_string(random() % 3);
      methods.push_back(at("method" + std::to_string(i), 1, verb, steps[random() % 3]));
    }
    if (round % 2 == 0) methods.push_back(at("another keep", 1, Keep{.slot = "slot", .text = {}}));
    const std::string expected = fingerprint(methods);
    programs += expected.empty() ? 0 : 1;
    for (int order = 0; order < 5; ++order) {
      std::ranges::shuffle(methods, random);
      ASSERT_EQ(fingerprint(methods), expected) << "round " << round;
    }
  }
  EXPECT_EQ(programs, 200);
}

TEST(Planner, OrderedEditsKeepThePresetsOrder) {
  const Declaration a = at("first", 0, Shaping{.role = Role::k, .function = same_k});
  const Declaration b = at("second", 0, Shaping{.role = Role::k, .function = same_k});
  EXPECT_NE(fingerprint({a, b}), fingerprint({b, a}));
}

TEST(Planner, IsPure) {
  const std::vector<Declaration> methods{at("a", 1, Temper{.tau = 2, .query = {}, .key = {}}, {2, 5}),
                                         at("b", 1, Capture{.name = "looks", .keys = {1}}),
                                         at("c", 0, Take{.role = Role::k, .lane = {.branch = {}, .member = 0}})};
  EXPECT_EQ(fingerprint(methods), fingerprint(methods));
  EXPECT_FALSE(fingerprint(methods).empty());
}

const Take take_v{.role = Role::v, .lane = {.branch = {}, .member = 0}, .region = {}};

TEST(Planner, ExclusiveClaimsAreRefusedInWords) {
  EXPECT_EQ(
      refusal({at("masactrl", 2, take_v, {4, 10}), at("rf_edit", 2, take_v, {2, 8})}),
      "[plan] wanted one method to take v at double.0.joint, lane source.cond, steps 4-7; got masactrl (p.yaml:8) and "
      "rf_edit (p.yaml:7); try different regions, different steps, or `over: masactrl` under rf_edit");
  EXPECT_EQ(refusal({at("one", 1, Reuse{.slot = "x", .absorbs = {}}),
                     at("three", 1, Reuse{.slot = "y", .absorbs = {}}, {0, 1})}),
            "[plan] wanted one method to reuse the layer at mid.block0.cross, step 0; got one (p.yaml:3) and three "
            "(p.yaml:5); try different regions, different steps, or `over: one` under three");
  const Verb rewrite = commuting_verbs()[14];
  EXPECT_NE(refusal({at("one", 1, rewrite), at("three", 1, rewrite)}).find("one method to rewrite the map"),
            std::string::npos);
  EXPECT_NE(refusal({at("one", 1, AddBranch{.name = "x"}), at("three", 1, AddBranch{.name = "x"})})
                .find("one method to add branch x"),
            std::string::npos);
  EXPECT_NE(refusal({at("one", 1, Keep{.slot = "x", .text = {}}), at("three", 1, Keep{.slot = "x", .text = {}})})
                .find("one method to keep x"),
            std::string::npos);
}

TEST(Planner, OverSettlesClaims) {
  const Declaration loser = at("masactrl", 0, take_v);
  const Declaration winner =
      at("rf_edit", 0, Take{.role = Role::v, .lane = {.branch = {}, .member = 1}}, {}, "masactrl");
  EXPECT_EQ(fingerprint({loser, winner}), fingerprint({winner}));
  EXPECT_EQ(fingerprint({winner, loser}), fingerprint({winner}));
  const Declaration branch = at("pag", 0, AddBranch{.name = "x", .weight = 1});
  const Declaration on_it{
      "pag", "p.yaml:1", "", [](PlanBuilder& plan) {
        site_at(plan, 0).lane(Branch::cond).on("x").declare(Temper{.tau = 3, .query = {}, .key = {}});
      }};
  const Declaration better = at("seg", 0, AddBranch{.name = "x", .weight = 2}, {}, "pag");
  EXPECT_EQ(fingerprint({branch, on_it, better}),
            fingerprint({better}));  // what stood on the loser's branch goes with it
}

TEST(Planner, DisjointRegionsRolesAndStepsStandSideBySide) {
  const auto take = [](const char* method, Role role, int64_t begin, int64_t end, Steps steps = {}) {
    return at(method, 0, Take{.role = role, .lane = {.branch = {}, .member = 0}, .region = ones_where(35, begin, end)},
              steps);
  };
  EXPECT_EQ(refusal({take("a", Role::v, 0, 10), take("b", Role::v, 10, 35)}), "composed");
  EXPECT_NE(refusal({take("a", Role::v, 0, 11), take("b", Role::v, 10, 35)}), "composed");
  EXPECT_EQ(refusal({take("a", Role::v, 0, 11), take("b", Role::k, 10, 35)}), "composed");
  EXPECT_EQ(refusal({at("a", 0, take_v, {0, 5}), at("b", 0, take_v, {5, 9})}), "composed");
}

TEST(Planner, TakesOfDifferentSegmentsStandSideBySide) {
  const auto take = [](const char* method, const char* segment) {
    return at(method, 2, Take{.role = Role::k, .lane = {.branch = {}, .member = 0}, .segment = segment});
  };
  EXPECT_EQ(refusal({take("a", "image"), take("b", "text")}), "composed");
  EXPECT_NE(refusal({take("a", "image"), take("b", "image")}), "composed");
  EXPECT_NE(refusal({take("a", "image"), take("b", "")}), "composed");
}

TEST(Planner, NeutralEditsLeaveNoProgram) {
  const Tensor zeros = Tensor::zeros({1, 11}), none = Tensor::zeros({35});
  const std::vector<Verb> neutral{
      Temper{.tau = 1, .query = {}, .key = {}},
      AddScore{{.text = "c", .form = Column{zeros}}},
      AddScore{{.text = "r", .form = Row{Tensor::zeros({1, 35})}}},
      AddScore{{.text = "p", .form = SegmentPair{"image", "text", 0}}},
      AddScore{{.text = "w", .form = Window{}}},
      AddScore{{.text = "d", .form = Dense{Tensor::zeros({1, 1, 35, 11})}}},
      AddScore{{.text = "l",
                .form = Labels{Tensor::from(std::vector<int64_t>(35), {1, 35}),
                               Tensor::from(std::vector<int64_t>(11), {1, 11}), Tensor::zeros({1, 1})}}},
      Gain{"g", Tensor::full({11}, 1)},
      AddBranch{.name = "x", .weight = 0},
      Weigh{.text = "", .constant = 1},
      Take{.role = Role::q, .lane = {}},
      Take{.role = Role::q, .lane = {.branch = {}, .member = 0}, .region = none},
      Blend{.lane = {.branch = {}, .member = 0}, .weight = 0},
      Blend{.lane = {}, .weight = 1},
      Blend{.lane = {.branch = {}, .member = 0}, .weight = 1, .region = none}};
  const std::string alone = fingerprint({at("b", 1, Temper{.tau = 2, .query = {}, .key = {}})});
  for (const Verb& verb : neutral) {
    const Declaration nothing = at("a", 1, verb, {2, 4});
    EXPECT_EQ(fingerprint({nothing}), "") << text_of({.lanes = {}, .steps = {}, .verb = verb});
    EXPECT_EQ(fingerprint({nothing, at("b", 1, Temper{.tau = 2, .query = {}, .key = {}})}), alone);  // no cut either
  }
}

TEST(Planner, EditsOfABranchWithoutWeightVanishWithIt) {
  const Declaration method{"a", "p.yaml:1", "", [](PlanBuilder& plan) {
                             const SiteScope here = site_at(plan, 1).lane(Branch::cond);
                             here.declare(AddBranch{.name = "x", .weight = 0});
                             here.on("x").declare(Temper{.tau = 3, .query = {}, .key = {}});
                           }};
  EXPECT_EQ(fingerprint({method}), "");
}

TEST(Planner, SelectorsThatMatchNothingNameTheSites) {
  const auto refused = [](const SiteSelect& select) {
    try {
      PlanBuilder plan(small_run());
      plan.speaks("masactrl", "p.yaml:12", "");
      plan.sites(select);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("found");
  };
  const std::string tail = "; got none among mid.block0.self, mid.block0.cross, double.0.joint, up.0.temporal; try ";
  EXPECT_EQ(
      refused({.kinds = {AttentionKind::self}, .query_tokens = 64, .names = {}, .text = "self-attention of 64 tokens"}),
      "[p.yaml:12 masactrl] wanted attention sites that match self-attention of 64 tokens" + tail +
          "heddle inspect --sites MODEL");
  EXPECT_EQ(refused({.kinds = {}, .names = {"mid", "dwn.1"}, .text = "layers"}),
            "[p.yaml:12 masactrl] wanted attention sites that match \"dwn.1\"" + tail +
                "names of sites, beginnings of them, or a share of depth such as \"0.4..0.6\"");
  EXPECT_NE(refused({.kinds = {}, .names = {"mid.block"}, .text = "layers"}), "found");  // whole parts of names only
  EXPECT_EQ(refused({.kinds = {}, .names = {"mid.block0"}, .text = "layers"}), "found");
}

// Blocks are counted among those that have such sites, several sites of a block together.
TEST(Planner, SharesOfDepthSelectBlocks) {
  const auto chosen = [](const RunShape& run, std::vector<AttentionKind> kinds, const std::string& share) {
    PlanBuilder plan(run);
    std::vector<std::string> names;
    for (const SiteScope& site : plan.sites({.kinds = std::move(kinds), .names = {share}, .text = "layers"}))
      names.push_back(site.site().name);
    return names;
  };
  using Names = std::vector<std::string>;
  const RunShape sd3 = testing::joint_run(testing::Joint::sd3);  // blocks 0, 1 (joint and self), 2
  EXPECT_EQ(chosen(sd3, {}, "0.5..0.5"), (Names{"block.01.joint", "block.01.self"}));
  EXPECT_EQ(chosen(sd3, {AttentionKind::joint}, "0.5..0.5"), (Names{"block.01.joint"}));
  EXPECT_EQ(chosen(sd3, {AttentionKind::self}, "0..0.1"), (Names{"block.01.self"}));
  EXPECT_EQ(chosen(sd3, {AttentionKind::joint}, "0.34..1"), (Names{"block.01.joint", "block.02.joint"}));
  EXPECT_EQ(chosen(sd3, {AttentionKind::joint}, "1..1"), (Names{"block.02.joint"}));
  EXPECT_EQ(chosen(small_run(), {}, "0..0.2"), (Names{"mid.block0.self", "mid.block0.cross"}));
  for (const char* wrong : {"0.6..0.4", "0..1.5", "..1", "0.5.."}) EXPECT_THROW(chosen(sd3, {}, wrong), Error) << wrong;
}

TEST(Planner, EditsOnAReusedLayerAreRefusedUnlessAbsorbed) {
  const auto gate = [](std::vector<std::string> absorbs) {
    return Declaration{"tgate", "p.yaml:2", "", [=](PlanBuilder& plan) {
                         site_at(plan, 1).during({4, 5}).declare(Keep{.slot = "cross", .text = {}});
                         site_at(plan, 1).during({5}).declare(Reuse{.slot = "cross", .absorbs = absorbs});
                       }};
  };
  EXPECT_EQ(
      refusal({gate({}), at("heat", 1, Temper{.tau = 2, .query = {}, .key = {}}, {3, 7})}),
      "[plan] wanted attention that is computed at mid.block0.cross, steps 5-6 for heat (p.yaml:4) (temper 2); got "
      "tgate (p.yaml:2) reuses an earlier result there; try other steps for one of them, or `absorbs: [heat]` under "
      "tgate if the kept result already carries the edit");
  EXPECT_NE(refusal({gate({}), at("maps", 1, Capture{.name = "looks", .keys = {1}})}), "composed");
  EXPECT_NE(refusal({gate({}), at("other", 1, Keep{.slot = "mine", .text = {}})}), "composed");
  EXPECT_EQ(refusal({gate({"heat"}), at("heat", 1, Temper{.tau = 2, .query = {}, .key = {}}, {3, 7})}), "composed");
  EXPECT_EQ(refusal({gate({}), at("heat", 1, Temper{.tau = 2, .query = {}, .key = {}}, {3, 5})}), "composed");
  EXPECT_EQ(refusal({gate({}), at("heat", 1, Temper{.tau = 1, .query = {}, .key = {}})}),
            "composed");  // it does nothing
  EXPECT_EQ(refusal({gate({}), at("heat", 0, Temper{.tau = 2, .query = {}, .key = {}})}), "composed");
}

TEST(Planner, SlotsAreWrittenBeforeTheyAreRead) {
  const auto reuse = at("tgate", 1, Reuse{.slot = "cross", .absorbs = {}}, {3, 10});
  EXPECT_EQ(refusal({reuse}),
            "[plan] wanted slot cross written before mid.block0.cross, steps 3-9; got no earlier keep; try "
            "later steps for tgate");
  EXPECT_NE(refusal({reuse, at("tgate", 1, Keep{.slot = "cross", .text = {}}, {3, 4})}), "composed");
  EXPECT_NE(refusal({reuse, at("tgate", 0, Keep{.slot = "cross", .text = {}}, {0, 3})}), "composed");
  EXPECT_EQ(refusal({reuse, at("tgate", 1, Keep{.slot = "cross", .text = {}}, {2, 3})}), "composed");
}

TEST(Planner, GroupNormsAreSharedByOneMethodAmongMembersThereAre) {
  const auto shares = [](const std::string& method, int member, int with) {
    return Declaration{method, "p.yaml:1", "", [=](PlanBuilder& plan) {
                         plan.shared_norms.push_back({plan.method(), plan.where(), member, with});
                       }};
  };
  EXPECT_EQ(refusal({shares("a", 1, 0)}), "composed");
  EXPECT_EQ(refusal({shares("a", 1, 0), shares("b", 0, 1)}), "composed");
  EXPECT_EQ(fingerprint({shares("a", 1, 0), shares("b", 0, 1)}), fingerprint({shares("b", 0, 1), shares("a", 1, 0)}));
  EXPECT_NE(fingerprint({shares("a", 1, 0)}), "");
  EXPECT_EQ(refusal({shares("a", 1, 0), shares("b", 1, 0)}),
            "[plan] wanted one method to share the group norms of target; got a (p.yaml:1) and b (p.yaml:1); try one "
            "of them");
  for (const auto& [member, with] : {std::pair{2, 0}, {0, 2}, {-1, 0}, {0, -1}})
    EXPECT_NE(refusal({shares("a", member, with)}).find("members of the run, 0 to 1"), std::string::npos);
  RunShape without = small_run();
  without.group_norms = 0;
  EXPECT_NE(refusal({shares("a", 1, 0)}, without).find("a network with group norms"), std::string::npos);
}

TEST(Planner, CutsWhereEditsBeginAndEnd) {
  const CompiledPlan plan = compile(built({at("a", 1, Temper{.tau = 2, .query = {}, .key = {}}, {2, 6}),
                                           at("b", 1, Capture{.name = "looks", .keys = {1}}, {4, 99})}));
  std::vector<Steps> cuts;
  for (const CompiledPlan::Section& s : plan.sections()) {
    if (s.pass == Pass::denoise && s.member == 0) cuts.push_back(s.steps);
  }
  EXPECT_EQ(cuts, (std::vector<Steps>{{2, 4}, {4, 6}, {6, 10}}));
  const Lane lane{.name = "source.cond"};
  const auto program = [&](int step) { return plan.program(1, lane, {.step = step, .steps = 10}); };
  EXPECT_EQ(program(1), nullptr);
  EXPECT_EQ(program(3)->branches[0].tau, 2);
  EXPECT_TRUE(program(3)->captures.empty());
  EXPECT_EQ(program(4)->captures.size(), 1u);
  EXPECT_EQ(program(9)->branches[0].tau, 1);
  EXPECT_EQ(plan.program(1, {.name = "source.uncond", .branch = Branch::uncond}, {.step = 3, .steps = 10}), nullptr);
  EXPECT_EQ(plan.program(0, lane, {.step = 3, .steps = 10}), nullptr);
  EXPECT_EQ(plan.last_capture({.step = 9, .steps = 10, .pass = Pass::guide}), 1);
  EXPECT_EQ(plan.last_capture({.step = 3, .steps = 10, .pass = Pass::guide}), -1);
}

TEST(Planner, FactorsMultiplyAndTermsAddUp) {
  const CompiledPlan plan = compile(
      built({at("a", 1, Temper{.tau = 2, .query = {}, .key = {}}), at("b", 1, Temper{.tau = 3, .query = {}, .key = {}}),
             at("c", 1, Weigh{.text = "", .constant = 0.5}), at("d", 1, Weigh{.text = "", .constant = 0.5})}));
  const BranchProgram& base = plan.program(1, {}, {.step = 0, .steps = 10})->branches[0];
  EXPECT_EQ(base.tau, 6);
  EXPECT_EQ(base.weight, 0.25);
}

}  // namespace
}  // namespace heddle
