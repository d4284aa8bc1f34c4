// The planner and segments that are held: where they may be left out, and what may be edited beside them.
#include <gtest/gtest.h>

#include "tests/attention_control/joint_run.h"
#include "tests/attention_control/planned.h"

namespace heddle {
namespace {

using testing::at;
using testing::Declaration;
using testing::refusal;
using testing::site_at;

// Keep and Reuse of the text at joint sites of SD3's shape: 0, 1 and 3 (2 is an attention of the image alone).
Declaration holds(Held held, std::vector<int> sites, Steps keep = {4, 5}, Steps reuse = {5, 10},
                  Passes passes = {Pass::denoise}) {
  return {"gate", "p.yaml:2", "", [=](PlanBuilder& plan) {
            for (const int site : sites) {
              const SiteScope at = site_at(plan, site).passes(passes);
              at.during(keep).declare(Keep{.slot = "held", .text = {}, .held = held, .segment = "text"});
              at.during(reuse).declare(Reuse{.slot = "held", .absorbs = {}, .held = held, .segment = "text"});
            }
          }};
}

TEST(Planner, SegmentsAreLeftOutWhereTheNetworkCan) {
  const RunShape sd3 = testing::joint_run(testing::Joint::sd3);
  for (const Held held : {Held::keys, Held::part}) {
    EXPECT_EQ(refusal({holds(held, {0, 1, 3})}, sd3), "composed");
    EXPECT_EQ(refusal({holds(held, {1, 3})}, sd3), "composed");
    EXPECT_EQ(
        refusal({holds(held, {0, 3})}, sd3),
        "[plan] wanted text held at block.01.joint, steps 5-9, too; got block.00.joint before it leaves it out; try "
        "reuse at all sites behind the first");
    EXPECT_NE(refusal({holds(held, {0, 1})}, sd3), "composed");
    EXPECT_NE(refusal({holds(held, {0, 1, 3}),
                       {"one more", "p.yaml:3", "",
                        [=](PlanBuilder& plan) {
                          site_at(plan, 0).during({3, 4}).declare(
                              Reuse{.slot = "held", .absorbs = {}, .held = held, .segment = "text"});
                        }}},
                      sd3)
                  .find("written before block.00.joint"),
              std::string::npos);
    // Neither an attention of the image alone nor a UNet's has such tokens; nor is there another segment.
    EXPECT_EQ(refusal({holds(held, {2})}, sd3),
              "[p.yaml:2 gate] wanted keys of text at block.01.self, step 4; got none");
    EXPECT_EQ(refusal({holds(held, {1})}),
              "[p.yaml:2 gate] wanted a site whose network can leave out its text tokens; got mid.block0.cross; try "
              "sites of joint attention");
    EXPECT_EQ(refusal({holds(held, {0, 1, 3}, {4, 5}, {5, 10}, {Pass::denoise, Pass::guide})}, sd3),
              "[p.yaml:2 gate] wanted segments held in denoising passes alone; got another pass");
  }
  // A slot is read as what was put into it.
  const Declaration mixed{"gate", "p.yaml:2", "", [](PlanBuilder& plan) {
                            site_at(plan, 3).during({4, 5}).declare(
                                Keep{.slot = "held", .text = {}, .held = Held::keys, .segment = "text"});
                            site_at(plan, 3)
                                .during({5})
                                .passes({Pass::denoise})
                                .declare(Reuse{.slot = "held", .absorbs = {}, .held = Held::part, .segment = "text"});
                          }};
  EXPECT_NE(refusal({mixed}, sd3).find("slot held written before"), std::string::npos);
  // Whole or in part, a layer is reused by one.
  const auto whole = at("whole", 3, Reuse{.slot = "all", .absorbs = {}}, {6, 8});
  const auto kept = at("whole", 3, Keep{.slot = "all", .text = {}}, {2, 3});
  EXPECT_NE(refusal({kept, whole, holds(Held::keys, {0, 1, 3})}, sd3).find("one method to reuse the layer"),
            std::string::npos);
}

TEST(Planner, EditsBesideKeysThatAreHeldButNotBesideAPart) {
  const RunShape sd3 = testing::joint_run(testing::Joint::sd3);
  const auto heat = [](Branch branch, Steps steps) {
    return Declaration{"heat", "p.yaml:4", "", [=](PlanBuilder& plan) {
                         site_at(plan, 1).lane(branch).during(steps).declare(Temper{.tau = 2, .query = {}, .key = {}});
                       }};
  };
  EXPECT_EQ(refusal({holds(Held::keys, {0, 1, 3}), heat(Branch::cond, {3, 7})}, sd3), "composed");
  EXPECT_EQ(refusal({holds(Held::part, {0, 1, 3}), heat(Branch::cond, {3, 7})}, sd3),
            "[plan] wanted keys of text at block.01.joint, steps 5-6 for heat (p.yaml:4) (temper 2); got gate "
            "(p.yaml:2) holds their part of the softmax in their place; try other steps for one of them, or keys held");
  EXPECT_EQ(refusal({holds(Held::part, {0, 1, 3}), heat(Branch::cond, {3, 5})}, sd3), "composed");
  EXPECT_NE(refusal({holds(Held::part, {0, 1, 3}), at("one", 1, Keep{.slot = "x", .text = {}}, {6, 7})}, sd3),
            "composed");
  // Branches that end with guidance are not there to be edited.
  const Declaration drops{"drop", "p.yaml:6", "", [](PlanBuilder& plan) {
                            plan.predictions.push_back({.method = "drop", .scale = [](int, double) { return 1.0; }});
                            plan.drop_guidance = DropGuidance{.method = "drop", .step = 5, .tail = Branch::uncond};
                          }};
  EXPECT_EQ(refusal({drops, holds(Held::part, {0, 1, 3}), heat(Branch::perturbed, {})}, sd3), "composed");
  EXPECT_NE(refusal({drops, holds(Held::part, {0, 1, 3}), heat(Branch::uncond, {})}, sd3), "composed");
}

}  // namespace
}  // namespace heddle
