// attend() and attend_layer(): what an evaluation does with a plan, against plain attention on tensors changed by hand.
#include "attention_control/plan/attend.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/ops/elementwise.h"
#include "tests/attention_control/attend_call.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

using testing::Call;
using testing::expect_near;
using testing::from_source;
using testing::planned;
using testing::rows;
using testing::same_bits;
using testing::site_at;
using testing::small_run;
using testing::source;
using testing::where;

TEST(Attend, AnEmptyPlanIsThePlainRunBitForBit) {
  const CompiledPlan empty = planned([](PlanBuilder&) {});
  const CompiledPlan elsewhere =
      planned([](PlanBuilder& plan) { site_at(plan, 0).declare(Temper{.tau = 2, .query = {}, .key = {}}); });
  const CompiledPlan later = planned(
      [](PlanBuilder& plan) { site_at(plan, 1).during({3}).declare(Temper{.tau = 2, .query = {}, .key = {}}); });
  Call plain(nullptr);
  const Tensor expected = plain();
  for (const CompiledPlan* plan : {&empty, &elsewhere, &later}) {
    Call call(plan);
    const Tensor got = call();
    EXPECT_TRUE(same_bits(got, expected));
  }
}

TEST(Attend, AnEmptyPlanAllocatesNothingMore) {
  const CompiledPlan empty = planned([](PlanBuilder&) {});
  const auto bytes = [](const CompiledPlan* plan) {
    Call call(plan);
    trim_memory();
    const int64_t before = memory_stats().in_use;
    reset_peak_memory();
    call();
    return memory_stats().peak - before;
  };
  EXPECT_EQ(bytes(&empty), bytes(nullptr));
}

TEST(Attend, RowsWithoutKeysAreAnErrorUnlessTheyMayBe) {
  std::vector<float> bias(35 * 11);
  std::fill(bias.begin(), bias.begin() + 11, -std::numeric_limits<float>::infinity());  // query 0 sees nothing
  for (const bool allowed : {false, true}) {
    CompiledPlan plan = planned([&](PlanBuilder& p) {
      site_at(p, 1).declare(AddScore{{.text = "mask",
                                      .form = Dense{Tensor::from(std::span<const float>(bias), {1, 1, 35, 11})},
                                      .at_run_time = {},
                                      .empty_rows_are_zero = allowed}});
    });
    for (const Tier tier : {Tier::plain, Tier::reference}) {
      plan.least = tier;
      Call call(&plan);
      if (allowed) {
        const std::vector<float> first = slice(call(), 1, 0, 1).to_vector();
        EXPECT_TRUE(std::ranges::all_of(first, [](float v) { return v == 0; }));
      } else {
        try {
          call();
          FAIL() << name_of(tier);
        } catch (const Error& error) {
          EXPECT_STREQ(
              error.what(),
              "[attention mid.block0.cross] wanted a mask that leaves each query a key; got queries without any");
        }
      }
    }
  }
}

TEST(Attend, TensorsThatContradictTheSiteAreRefused) {
  const CompiledPlan empty = planned([](PlanBuilder&) {});
  const auto refusal = [&](bool queries) {
    Call call(&empty);
    auto [q, k, v] = call.x;
    call.x = queries ? testing::Projections{slice(q, 1, 0, 34), k, v}
                     : testing::Projections{q, slice(k, 1, 0, 10), slice(v, 1, 0, 10)};
    return testing::refusal_of([&] { call(); }, "attended", ErrorCode::internal);
  };
  const std::string wanted = "[attend mid.block0.cross] wanted q [4, 35, 2, 8] and k [4, 11, 2, 8]; got ";
  EXPECT_EQ(refusal(true), wanted + "[4, 34, 2, 8] and [4, 11, 2, 8]");
  EXPECT_EQ(refusal(false), wanted + "[4, 35, 2, 8] and [4, 10, 2, 8]");
}

TEST(Attend, BlendMovesTheOutputInARegion) {
  const Tensor region = where(35, [](int64_t i) { return i % 7 < 3; });
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 1).member(1).declare(Blend{.lane = source, .weight = 0.25, .region = region});
  });
  Call call(&plan), plain(nullptr);
  const Tensor out = plain();
  const Tensor weight = scale(reshape(region, {1, 35, 1, 1}), 0.25);
  const Tensor moved = add(rows(out, 2, 4), multiply(subtract(rows(out, 0, 2), rows(out, 2, 4)), weight));
  expect_near(call(), concat({rows(out, 0, 2), moved}, 0));
}

// Keys taken in one region and values in another: where they overlap both are taken.
TEST(Attend, TakesInRegionsOverlap) {
  const auto left = [](int64_t i) { return i % 7 < 4; };
  const auto top = [](int64_t i) { return i / 7 < 2; };
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 1).member(1).declare(Take{Role::k, source, where(35, left)});
    site_at(p, 1).member(1).declare(Take{Role::v, source, where(35, top)});
    site_at(p, 1).member(1).declare(Capture{.name = "looks", .keys = {1, 2}});
  });
  Call call(&plan);
  const Tensor got = call();
  Tensor expected;
  for (const bool k : {false, true}) {
    for (const bool v : {false, true}) {
      Call plain(nullptr);
      if (k) plain.x.k = from_source(plain.x.k);
      if (v) plain.x.v = from_source(plain.x.v);
      const Tensor here = reshape(where(35, [&](int64_t i) { return left(i) == k && top(i) == v; }), {1, 35, 1, 1});
      const Tensor part = multiply(plain(), here);
      expected = expected.defined() ? add(expected, part) : part;
    }
  }
  expect_near(rows(got, 2, 4), rows(expected, 2, 4));
  const auto map = [](bool taken) {
    const CompiledPlan reads = planned([](PlanBuilder& p) {
      site_at(p, 1).declare(Capture{.name = "looks", .keys = {1, 2}});
    });
    Call plain(&reads);
    if (taken) plain.x.k = from_source(plain.x.k);
    plain();
    return plain.captures.at("looks").at(1).values;
  };
  const Tensor inside = reshape(where(35, left), {1, 35, 1}), outside = add_constant(scale(inside, -1), 1);
  expect_near(call.captures.at("looks").at(0).values, add(multiply(map(true), inside), multiply(map(false), outside)));
}

TEST(Attend, ARegionThatIsEverywhereIsAPlainTake) {
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 1).member(1).declare(Take{Role::v, source, Tensor::full({35}, 1)});
  });
  const Program& program = *plan.sections().at(0).program;
  EXPECT_EQ(program.calls(), 1);
  EXPECT_FALSE(program.branches.at(0).region.defined());
  Call call(&plan), plain(nullptr);
  plain.x.v = from_source(plain.x.v);
  expect_near(call(), plain());
}

TEST(Attend, RegionsOfABranchAreItsOwn) {
  const auto top = [](int64_t i) { return i / 7 < 2; };
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 1).member(1).declare(AddBranch{.name = "more", .weight = 0.5});
    site_at(p, 1).member(1).on("more").declare(Take{Role::v, source, where(35, top)});
  });
  Call call(&plan), plain(nullptr), taken(nullptr);
  taken.x.v = from_source(taken.x.v);
  const Tensor inside = reshape(where(35, top), {1, 35, 1, 1}), outside = add_constant(scale(inside, -1), 1);
  const Tensor own = plain();
  const Tensor more = add(multiply(taken(), inside), multiply(own, outside));
  expect_near(rows(call(), 2, 4), rows(weighted_sum(1, own, 0.5, more), 2, 4));
}

TEST(Attend, AnIdentityBranchAloneIsV) {
  const CompiledPlan plan = planned([](PlanBuilder& p) {
    site_at(p, 0).declare(Weigh{.text = "", .constant = 0});
    site_at(p, 0).declare(AddBranch{.name = "identity", .weight = 1, .identity = true});
  });
  Call call(&plan, 0);
  EXPECT_TRUE(same_bits(call(), call.x.v));
}

TEST(Attend, LayersAreKeptAndReused) {
  const CompiledPlan plan = planned([](PlanBuilder& p) {
    site_at(p, 1).during({2, 3}).declare(
        Keep{.slot = "cross", .text = "first rows", .combine = [](const Tensor& out, const std::vector<Lane>& lanes) {
               return slice(out, 0, lanes[0].begin, lanes[0].end);
             }});
    site_at(p, 1).during({3}).declare(Reuse{.slot = "cross", .absorbs = {}});
  });
  Call call(&plan);
  const Tensor residual = testing::random_tensor({4, 35, 8}, 1), result = testing::random_tensor({4, 35, 8}, 2);
  int computed = 0;
  const auto layer = [&](const Tensor& x, int step) {
    call.context.moment.step = step;
    return attend_layer(call.run.sites[1], x, call.context, [&](const Tensor& added) {
      ++computed;
      return added.defined() ? add(result, added) : result;
    });
  };
  EXPECT_TRUE(same_bits(layer(residual, 1), add(residual, result)));
  EXPECT_EQ(call.bank.bytes(), 0);
  EXPECT_TRUE(same_bits(layer(residual, 2), add(residual, result)));
  EXPECT_EQ(call.bank.bytes(), 2 * 35 * 8 * 4);
  EXPECT_EQ(computed, 2);
  const Tensor tail = testing::random_tensor({2, 35, 8}, 3);
  EXPECT_TRUE(same_bits(layer(tail, 3), add(tail, rows(result, 0, 2))));
  EXPECT_TRUE(same_bits(layer(tail, 9), add(tail, rows(result, 0, 2))));
  EXPECT_TRUE(same_bits(layer({}, 9), rows(result, 0, 2)));  // several streams share the result
  EXPECT_EQ(computed, 2);
  call.bank.clear();
  EXPECT_THROW(layer(tail, 3), Error);
}

TEST(Attend, StopsBehindTheLastSiteThatIsRead) {
  const CompiledPlan plan =
      planned([](PlanBuilder& p) { site_at(p, 1).declare(Capture{.name = "looks", .keys = {1}}); });
  Call before(&plan, 0), there(&plan, 1);
  before.context.stop_after = there.context.stop_after = plan.last_capture(there.context.moment);
  EXPECT_NO_THROW(before());
  EXPECT_THROW(there(), StopEvaluation);
  EXPECT_EQ(there.captures.at("looks").size(), 2u);
}

TEST(Attend, LanesThatAreAlikeGiveTheSameAloneOrTogether) {
  const CompiledPlan plan =
      planned([](PlanBuilder& p) { site_at(p, 1).declare(Temper{.tau = 2, .query = {}, .key = {}}); });
  Call together(&plan);
  const Tensor all = together();
  Call alone(&plan);
  alone.x = {rows(alone.x.q, 2, 4), rows(alone.x.k, 2, 4), rows(alone.x.v, 2, 4)};
  alone.context.lanes = {alone.context.lanes[1]};
  alone.context.lanes[0].begin = 0, alone.context.lanes[0].end = 2;
  EXPECT_TRUE(same_bits(alone(), rows(all, 2, 4)));
}

// Labels, another source and live columns at 2048 tokens, forward and backward: never a buffer of tokens x tokens.
TEST(Attend, NothingGrowsWithTheSquareOfTokens) {
  RunShape run = small_run();
  run.tokens[0] = {{{.name = "image", .height = 32, .width = 64}}, {{.name = "image", .height = 32, .width = 64}}};
  constexpr int64_t tokens = 2048;
  std::vector<int64_t> labels(tokens);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i * 7 % 5);
  const Tensor of_tokens = Tensor::from(std::span<const int64_t>(labels), {1, tokens});
  const CompiledPlan plan = planned(
      [&](PlanBuilder& p) {
        const SiteScope here = site_at(p, 0);
        here.declare(
            AddScore{{.text = "labels", .form = Labels{of_tokens, of_tokens, testing::random_tensor({5, 5}, 3)}}});
        here.declare(
            AddScore{{.text = "near", .form = Window{.segment = "image", .frames = -1, .height = 20, .width = 40}}});
        here.declare(Extend{.text = "source", .lane = source, .log_gain = 0.2, .key_scale = 1, .terms = {}});
        here.declare(Capture{.name = "looks", .keys = {5, 900, 901, 2047}});
      },
      run);
  Call call(&plan, 0, run);
  call.x = testing::random_projections(run, 0, 4, 3);
  trim_memory();
  const int64_t before = memory_stats().in_use;
  reset_peak_memory();
  Tape tape;
  call.x = {tape.watch(call.x.q), tape.watch(call.x.k), tape.watch(call.x.v)};
  std::vector<Tensor> ys{call()};
  for (const AttentionMap& map : call.captures.at("looks")) ys.push_back(map.values);
  std::vector<Tensor> cotangents;
  for (const Tensor& y : ys) cotangents.push_back(Tensor::full(y.shape(), 1));
  const std::vector<Tensor> xs{call.x.q, call.x.k, call.x.v};
  EXPECT_EQ(tape.gradients(ys, cotangents, xs).size(), 3u);
  const int64_t one_map = tokens * tokens * 4;  // of one head of one row; there are eight
  EXPECT_LT(memory_stats().peak - before, one_map);
}

// A temperature that keeps masses moves attention inside a segment and none between segments.
TEST(Attend, ATemperatureMayLeaveASegmentsShare) {
  std::vector<int64_t> all(46);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const auto map_of = [&](double tau, bool keep, Tier tier) {
    CompiledPlan plan = planned([&](PlanBuilder& p) {
      site_at(p, 2).member(1).declare(Temper{.tau = tau, .query = "image", .key = "image", .keep_mass = keep});
      site_at(p, 2).member(1).declare(Capture{.name = "looks", .keys = all, .mean_over_heads = false});
    });
    plan.least = tier;
    Call call(&plan, 2);
    call();
    return call.captures.at("looks").at(0).values.to_vector();  // [2,2,46,46]: text 11, image 35
  };
  for (const Tier tier : {Tier::plain, Tier::reference}) {
    const std::vector<float> plain = map_of(1, false, tier), kept = map_of(0.5, true, tier),
                             sharp = map_of(0.5, false, tier);
    double moved = 0;
    for (size_t row = 0; row < 4 * 46; ++row) {
      const bool image = row % 46 >= 11;
      double of_plain = 0, of_sharp = 0;
      for (size_t k = 11; k < 46; ++k) of_plain += plain[row * 46 + k], of_sharp += sharp[row * 46 + k];
      for (size_t k = 0; k < 46; ++k) {
        const double p = plain[row * 46 + k];
        const double wanted = !image || k < 11 ? p : sharp[row * 46 + k] / of_sharp * of_plain;
        EXPECT_NEAR(kept[row * 46 + k], wanted, 1e-5);
        moved = std::max(moved, std::abs(static_cast<double>(kept[row * 46 + k]) - p));
      }
    }
    EXPECT_GT(moved, 0.05);
  }
}

}  // namespace
}  // namespace heddle
