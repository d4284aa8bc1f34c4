// Edits of queries and keys before and after rotary positions.
#include <gtest/gtest.h>

#include "attention_control/plan/attend.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/attend_call.h"

namespace heddle {
namespace {

using testing::Call;
using testing::expect_near;
using testing::from_source;
using testing::planned;
using testing::same_bits;
using testing::site_at;
using testing::source;

// Rotary positions: turned inside attend, so edits of k see it after, edits of k.plain before.
TEST(RotaryEdits, RotaryPositionsStandBetweenPlainAndOtherShapes) {
  std::vector<double> angles;
  for (int i = 0; i < 46 * 4; ++i) angles.push_back(0.1 * i);
  const Rotary rotary = rotary_tables(angles, 46);
  const auto doubled = [](const Tensor& x, const LaneTensors&) { return scale(x, 2); };
  const auto shifted = [](const Tensor& x, const LaneTensors&) { return add_constant(x, 1); };
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 2).declare(Shaping{.role = Role::k, .function = {.text = "shifted", .apply = shifted}});
    site_at(p, 2).declare(Shaping{.role = Role::k, .function = {.text = "doubled", .apply = doubled}, .plain = true});
    site_at(p, 2).declare(Shaping{.role = Role::q, .function = {.text = "shifted", .apply = shifted}, .plain = true});
  });
  Call plain(nullptr, 2), edited(&plan, 2);
  const auto with = [&](Call& call) {
    return attend(call.run.sites[2], call.run.tokens[2], call.x.q, call.x.k, call.x.v, call.context, rotary);
  };
  Call by_hand(nullptr, 2);
  by_hand.x.q = rotate(plain.x.q, rotary);
  by_hand.x.k = rotate(plain.x.k, rotary);
  EXPECT_TRUE(same_bits(with(plain), by_hand()));
  by_hand.x.q = rotate(add_constant(plain.x.q, 1), rotary);
  by_hand.x.k = add_constant(rotate(scale(plain.x.k, 2), rotary), 1);
  expect_near(with(edited), by_hand());
  const auto& phrases = plan.sections().front().program->phrases;
  EXPECT_NE(std::ranges::find(phrases, "doubled on k.plain (method)"), phrases.end());
}

// A plain function may look at other lanes before rotation, others see them as the kernel does; keys taken from another
// lane keep that lane's positions.
TEST(RotaryEdits, LanesAreSeenBeforeAndAfterRotaryPositions) {
  std::vector<double> angles;
  for (int i = 0; i < 46 * 4; ++i) angles.push_back(0.03 * i * i);
  const Rotary rotary = rotary_tables(angles, 46);
  const auto theirs = [](Role role, bool before) {
    return [=](const Tensor&, const LaneTensors& lanes) {
      return before ? lanes.plain(role, source) : lanes.of(role, source);
    };
  };
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 2).member(1).declare(Take{.role = Role::k, .lane = source});
    site_at(p, 2).member(1).declare(
        Shaping{.role = Role::q, .function = {.text = "theirs", .apply = theirs(Role::q, true)}, .plain = true});
    site_at(p, 2).member(1).declare(
        Shaping{.role = Role::v, .function = {.text = "theirs", .apply = theirs(Role::v, false)}});
  });
  Call call(&plan, 2), by_hand(nullptr, 2);
  by_hand.x.q = rotate(from_source(call.x.q), rotary);
  by_hand.x.k = rotate(from_source(call.x.k), rotary);
  by_hand.x.v = from_source(call.x.v);
  expect_near(attend(call.run.sites[2], call.run.tokens[2], call.x.q, call.x.k, call.x.v, call.context, rotary),
              by_hand());
}

// Keys of one segment from another lane, where they stand there, at the grid's middle, or beside the grid.
TEST(RotaryEdits, KeysOfASegmentMayStandElsewhere) {
  const auto angles_of = [](double row, double column, std::vector<double>& out) {
    for (const double f : {0.9, 0.7, 0.5, 0.3}) out.push_back(f * (f > 0.6 ? row : column));
  };
  std::vector<double> angles;  // text 11, then image 5 x 7
  for (int i = 0; i < 11; ++i) angles_of(0, 0, angles);
  for (int i = 0; i < 35; ++i) angles_of(i / 7, i % 7, angles);
  const Rotary rotary = rotary_tables(angles, 46);
  for (const KeyPlaces places : {KeyPlaces::own, KeyPlaces::centre, KeyPlaces::beside}) {
    std::vector<double> moved(angles.begin(), angles.begin() + 44);
    for (int i = 0; i < 35; ++i) {
      if (places == KeyPlaces::centre)
        angles_of(2, 3, moved);
      else
        angles_of(i / 7, i % 7 + (places == KeyPlaces::beside ? 7 : 0), moved);
    }
    const CompiledPlan take = planned([&](PlanBuilder& p) {
      for (const Role role : {Role::k, Role::v})
        site_at(p, 2).member(1).declare(Take{
            .role = role, .lane = source, .segment = "image", .places = role == Role::k ? places : KeyPlaces::own});
    });
    const CompiledPlan extend = planned([&](PlanBuilder& p) {
      site_at(p, 2).member(1).declare(Extend{.text = "theirs", .lane = source, .segment = "image", .places = places});
    });
    Call taken(&take, 2), extended(&extend, 2), by_hand(nullptr, 2);
    const Rotary there = rotary_tables(moved, 46);
    const auto image = [](const Tensor& x) { return slice(x, 1, 11, 46); };
    const Tensor theirs_k = image(rotate(from_source(taken.x.k), there)), theirs_v = image(from_source(taken.x.v));
    const auto run = [&](Call& call) {
      return testing::rows(
          attend(call.run.sites[2], call.run.tokens[2], call.x.q, call.x.k, call.x.v, call.context, rotary), 2, 4);
    };
    const Tensor q = rotate(taken.x.q, rotary), k = rotate(taken.x.k, rotary);
    const auto plain = [&](const Tensor& keys, const Tensor& values) {
      return testing::rows(attention(q, keys, values, {}).out, 2, 4);
    };
    expect_near(run(taken), plain(with_slice(k, 1, 11, theirs_k), with_slice(taken.x.v, 1, 11, theirs_v)), 1e-5);
    expect_near(run(extended), plain(concat({k, theirs_k}, 1), concat({extended.x.v, theirs_v}, 1)), 1e-5);
  }
}

}  // namespace
}  // namespace heddle
