// Segments that a plan holds: their keys and values, or their part of the softmax, kept at one step and standing in for
// them at later ones, in the layouts of SD3 (image, text) and FLUX (text, image; rotary positions).
#include <gtest/gtest.h>

#include "attention_control/plugins/image_text.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "tests/attention_control/attend_call.h"

namespace heddle {
namespace {

using testing::Declare;
using testing::expect_near;
using testing::Joint;
using testing::planned;
using testing::same_bits;
using testing::site_at;

const std::vector<Joint> both{Joint::sd3, Joint::flux};

// Of every site with such a stream: kept at step 2, left out from step 3 on.
Declare holding(Held held, const Declare& more = {}) {
  return [=](PlanBuilder& plan) {
    for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::joint}, .names = {}, .text = "joint"})) {
      site.during({2, 3})
          .passes({Pass::denoise})
          .declare(Keep{.slot = "held", .text = "", .held = held, .segment = "text"});
      site.during({3})
          .passes({Pass::denoise})
          .declare(Reuse{.slot = "held", .absorbs = {}, .held = held, .segment = "text"});
    }
    plan.speaks("other", "p.yaml:2", "");
    if (more) more(plan);
  };
}

// One site in lanes source.cond and target.cond of two pictures each.
struct Steps4 {
  Steps4(const Declare& declare, Joint like)
      : run(testing::joint_run(like)),
        plan(planned(declare, run)),
        tokens(run.tokens.back()),
        site(run.sites.back()),
        before(testing::random_projections(run, site.depth, 4, 5)),
        now(testing::random_projections(run, site.depth, 4, 6)),
        rotary(testing::rotary_of(tokens, site.head_dim)) {
    context = {.moment = {.step = 0, .steps = 10},
               .lanes = testing::lanes_of(run, {Branch::cond}, 2),
               .plan = &plan,
               .captures = &captures,
               .bank = &bank};
  }

  Tensor all(const testing::Projections& x, int step) {
    context.moment.step = step;
    return attend(site, tokens, x.q, x.k, x.v, context, rotary);
  }
  // Without the text's tokens.
  Tensor image_alone(const testing::Projections& x, int step) {
    context.moment.step = step;
    return attend(site, tokens, image(x.q), image(x.k), image(x.v), context, rotary);
  }
  Tensor image(const Tensor& x) const { return slice(x, 1, places().begin, places().end); }
  Tensor with_text(const Tensor& x, const Tensor& other) const {
    const TokenRange text = range_of(tokens.key, "text");
    return with_slice(x, 1, text.begin, slice(other, 1, text.begin, text.end));
  }
  TokenRange places() const { return range_of(tokens.key, "image"); }

  RunShape run;
  CompiledPlan plan;
  SiteTokens tokens;
  AttentionSite site;
  testing::Projections before, now;
  Rotary rotary;
  Captures captures;
  Bank bank;
  AttentionContext context;
};

TEST(LeftOut, KeysHeldStandWhereTheyWere) {
  for (const Joint like : both) {
    Steps4 run(holding(Held::keys), like), plain([](PlanBuilder&) {}, like);
    EXPECT_TRUE(same_bits(run.all(run.before, 2), plain.all(run.before, 2)));  // keeping changes nothing
    EXPECT_EQ(run.bank.bytes(), 4 * 2 * range_of(run.tokens.key, "text").size() * 16 * 4);
    const testing::Projections joined{run.now.q, run.with_text(run.now.k, run.before.k),
                                      run.with_text(run.now.v, run.before.v)};
    for (const int step : {3, 9}) expect_near(run.image_alone(run.now, step), plain.image(plain.all(joined, step)));
    EXPECT_FALSE(needs(run.site, "text", run.context));
    EXPECT_TRUE(needs(run.site, "image", run.context));
    run.context.moment.step = 2;
    EXPECT_TRUE(needs(run.site, "text", run.context));
  }
}

// softmax over all keys = (e^lse_t out_t + e^lse_i out_i) / (e^lse_t + e^lse_i), the text's share of an earlier step.
TEST(LeftOut, APartHeldIsMergedByItsLogSumExp) {
  for (const Joint like : both) {
    Steps4 run(holding(Held::part), like), plain([](PlanBuilder&) {}, like);
    EXPECT_TRUE(same_bits(run.all(run.before, 2), plain.all(run.before, 2)));
    const TokenRange text = range_of(run.tokens.key, "text");
    const auto part = [&](const testing::Projections& x, const TokenRange& keys) {
      const auto turned = [&](const Tensor& t) { return run.rotary.defined() ? rotate(t, run.rotary) : t; };
      return attention_reference(run.image(turned(x.q)), slice(turned(x.k), 1, keys.begin, keys.end),
                                 slice(x.v, 1, keys.begin, keys.end), {});
    };
    const ReferenceResult old = part(run.before, text), fresh = part(run.now, run.places());
    const auto weight = [](const Tensor& lse) {
      return permute(reshape(exponential(lse), {lse.dim(0), lse.dim(1), lse.dim(2), 1}), {0, 2, 1, 3});
    };
    const Tensor a = weight(old.lse), b = weight(fresh.lse);
    const Tensor merged = divide(add(multiply(old.out, a), multiply(fresh.out, b)), add(a, b));
    expect_near(run.image_alone(run.now, 3), merged);
    // With the queries and keys of the step that was kept nothing is lost.
    expect_near(run.image_alone(run.before, 7), plain.image(plain.all(run.before, 7)));
  }
}

TEST(LeftOut, WhatIsKeptMayBecomeOneBranch) {
  for (const Held held : {Held::keys, Held::part}) {
    const auto halved = [=](PlanBuilder& plan) {
      for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::joint}, .names = {}, .text = "joint"})) {
        site.during({2, 3}).declare(
            Keep{.slot = "held",
                 .text = "first half",
                 .combine = [](const Tensor& x, const std::vector<Lane>&) { return slice(x, 0, 0, x.dim(0) / 2); },
                 .held = held,
                 .segment = "text"});
        site.during({3})
            .passes({Pass::denoise})
            .declare(Reuse{.slot = "held", .absorbs = {}, .held = held, .segment = "text"});
      }
    };
    for (const Joint like : both) {
      Steps4 run(halved, like), whole(holding(held), like);
      const auto half = [](const testing::Projections& x) {
        return testing::Projections{slice(x.q, 0, 0, 2), slice(x.k, 0, 0, 2), slice(x.v, 0, 0, 2)};
      };
      run.all(run.before, 2), whole.all(run.before, 2);
      EXPECT_THROW(run.image_alone(run.now, 3), Error);  // more rows than are held
      run.context.lanes.pop_back();
      expect_near(run.image_alone(half(run.now), 3), slice(whole.image_alone(run.now, 3), 0, 0, 2));
    }
  }
}

// Edits are made for all tokens of a site: those of the text's queries have nothing to act on, all others hold.
TEST(LeftOut, EditsHoldBesideKeysThatAreHeld) {
  const Declare edits = [](PlanBuilder& plan) {
    for (const SiteScope& at : plan.sites({.kinds = {AttentionKind::joint}, .names = {}, .text = "joint"})) {
      const SiteScope site = at.member(1);
      const TokenRange image = range_of(at.tokens().key, "image");
      const LaneRef source{.branch = {}, .member = 0};
      site.declare(Shaping{.role = Role::k,
                           .function = {.text = "moved to the source's mean",
                                        .apply =
                                            [=](const Tensor& x, const LaneTensors& lanes) {
                                              const auto centre = [&](const Tensor& all) {
                                                return mean(slice(all, 1, image.begin, image.end), {1}, Axes::keep);
                                              };
                                              const Tensor by =
                                                  subtract(centre(lanes.plain(Role::k, source)), centre(x));
                                              return with_image(x, image, [&](const Tensor& i) { return add(i, by); });
                                            }},
                           .plain = true});
      site.declare(Extend{.text = "the source", .lane = source, .log_gain = 0.3, .segment = "image"});
      site.declare(AddScore{{.text = "pixels at words", .form = SegmentPair{"image", "text", -0.7f}}});
      site.declare(Capture{.name = "looks", .keys = {image.begin, range_of(at.tokens().key, "text").begin}});
    }
  };
  for (const Joint like : both) {
    Steps4 run(holding(Held::keys, edits), like), full(edits, like);
    run.all(run.before, 2);
    run.captures.clear();
    const testing::Projections joined{run.now.q, run.with_text(run.now.k, run.before.k),
                                      run.with_text(run.now.v, run.before.v)};
    for (const Tier tier : {Tier::plain, Tier::reference}) {
      run.plan.least = tier;
      expect_near(run.image_alone(run.now, 3), full.image(full.all(joined, 3)));
    }
    const Tensor map = image_rows(run.captures.at("looks").front());
    expect_near(map, image_rows(full.captures.at("looks").front()), 1e-4);
  }
}

TEST(LeftOut, GradientsReachTheQueriesThatAreThere) {
  for (const Held held : {Held::keys, Held::part}) {
    Steps4 run(holding(held), Joint::flux), plain([](PlanBuilder&) {}, Joint::flux);
    run.all(run.now, 2);
    Tape tape;
    const Tensor q = tape.watch(run.now.q);
    const Tensor cotangent = testing::random_tensor(run.image(q).shape(), 3);
    const Tensor got = tape.gradient(run.image_alone({q, run.now.k, run.now.v}, 3), q, cotangent, Tape::Graph::keep);
    // What is held is a constant: with part, that of these very queries.
    if (held == Held::keys) {
      const Tensor want = tape.gradient(plain.image(plain.all({q, run.now.k, run.now.v}, 3)), q, cotangent);
      expect_near(run.image(got), run.image(want), 1e-4);
    }
    EXPECT_GT(testing::distance(run.image(got), Tensor::zeros(run.image(got).shape())).largest, 0.1);
  }
}

}  // namespace
}  // namespace heddle
