// What captures read: the map after edits or before them, its columns, means over heads.
#include <gtest/gtest.h>

#include "attention_control/plan/attend.h"
#include "kernels/ops/elementwise.h"
#include "tests/attention_control/attend_call.h"

namespace heddle {
namespace {

using testing::Call;
using testing::expect_near;
using testing::planned;
using testing::site_at;
using testing::source;
using testing::where;

TEST(Captures, RawCapturesReadTheNetworksOwnMap) {
  const CompiledPlan plan = planned([](PlanBuilder& p) {
    site_at(p, 1).declare(Temper{.tau = 0.5, .query = {}, .key = {}});
    site_at(p, 1).declare(Gain{"gain", Tensor::full({11}, 3)});
    site_at(p, 1).declare(Capture{.name = "edited", .keys = {1, 2, 3}});
    site_at(p, 1).declare(Capture{.name = "raw", .keys = {1, 2, 3}, .raw = true});
  });
  const CompiledPlan reads = planned([](PlanBuilder& p) {
    site_at(p, 1).declare(Capture{.name = "looks", .keys = {1, 2, 3}});
  });
  Call call(&plan), plain(&reads), tempered(&reads);
  tempered.x.q = scale(tempered.x.q, 2);
  call();
  plain();
  tempered();
  for (size_t lane = 0; lane < 2; ++lane) {
    expect_near(call.captures.at("raw").at(lane).values, plain.captures.at("looks").at(lane).values);
    expect_near(call.captures.at("edited").at(lane).values,
                tempered.captures.at("looks").at(lane).values);  // before gains
  }
}

// Among some keys alone: what a softmax over these keys would give, under the same temperatures and masks, whether or
// not the temperature leaves the segment its share.
void expect_probabilities_among_some_keys(bool keep_mass) {
  const std::vector<int64_t> within{2, 3, 7, 20, 45};
  const auto declare = [&](PlanBuilder& p, const std::vector<int64_t>& keys, const std::vector<int64_t>& among,
                           bool mean) {
    site_at(p, 2).member(1).declare(Temper{.tau = 0.5, .query = "image", .key = "text", .keep_mass = keep_mass});
    std::vector<float> bias(46);
    bias[3] = 1.5f, bias[20] = -1;
    site_at(p, 2).member(1).declare(
        AddScore{{.text = "c", .form = Column{Tensor::from(std::span<const float>(bias), {1, 46})}}});
    site_at(p, 2).member(1).declare(Capture{.name = "looks", .keys = keys, .within = among, .mean_over_heads = mean});
  };
  CompiledPlan plan = planned([&](PlanBuilder& p) { declare(p, {20, 3}, within, true); });
  const CompiledPlan heads = planned([&](PlanBuilder& p) { declare(p, within, {}, false); });
  Call all(&heads, 2);
  all();
  const Tensor map = all.captures.at("looks").at(0).values;  // [2,2,46,5]
  const std::vector<float> m = map.to_vector();
  for (const Tier tier : {Tier::plain, Tier::reference}) {
    plan.least = tier;
    Call call(&plan, 2);
    call();
    const Tensor got = call.captures.at("looks").at(0).values;
    ASSERT_EQ(got.shape(), (Shape{2, 46, 2}));
    const std::vector<float> values = got.to_vector();
    for (size_t r = 0; r < 2; ++r) {
      for (size_t q = 0; q < 46; ++q) {
        double of20 = 0, of3 = 0;
        for (size_t h = 0; h < 2; ++h) {
          const float* row = &m[((r * 2 + h) * 46 + q) * 5];
          const double sum = static_cast<double>(row[0] + row[1] + row[2] + row[3] + row[4]);
          of20 += static_cast<double>(row[3]) / sum / 2;
          of3 += static_cast<double>(row[1]) / sum / 2;
        }
        EXPECT_NEAR(values[(r * 46 + q) * 2], of20, 2e-6);
        EXPECT_NEAR(values[(r * 46 + q) * 2 + 1], of3, 2e-6);
      }
    }
  }
}

TEST(Captures, ProbabilitiesAmongSomeKeys) {
  for (const bool keep_mass : {false, true}) expect_probabilities_among_some_keys(keep_mass);
}

TEST(Captures, CapturesAreMeansOrHeadsInTheOrderAsked) {
  std::vector<int64_t> all(11);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const CompiledPlan plan = planned([&](PlanBuilder& p) {
    site_at(p, 1).member(1).declare(Capture{.name = "heads", .keys = all, .mean_over_heads = false});
    site_at(p, 1).member(1).declare(Capture{.name = "mean", .keys = {7, 2, 7}});
    p.speaks("another", "p.yaml:2", "");
    site_at(p, 1).member(1).declare(Capture{.name = "mean", .keys = {7, 2, 7}});  // once is enough
  });
  Call call(&plan);
  call();
  ASSERT_EQ(call.captures.at("heads").size(), 1u);
  ASSERT_EQ(call.captures.at("mean").size(), 1u);
  const AttentionMap& heads = call.captures.at("heads")[0];
  const AttentionMap& mean = call.captures.at("mean")[0];
  EXPECT_EQ(heads.values.shape(), (Shape{2, 2, 35, 11}));
  EXPECT_EQ(mean.values.shape(), (Shape{2, 35, 3}));
  EXPECT_EQ(mean.keys, (std::vector<int64_t>{7, 2, 7}));
  EXPECT_EQ(mean.lane.name, "target.cond");
  EXPECT_EQ(mean.site.name, "mid.block0.cross");
  const std::vector<float> h = heads.values.to_vector(), m = mean.values.to_vector();
  const auto at = [&](size_t r, size_t head, size_t i, size_t j) { return h[((r * 2 + head) * 35 + i) * 11 + j]; };
  for (size_t r = 0; r < 2; ++r) {
    for (size_t i = 0; i < 35; ++i) {
      for (size_t head = 0; head < 2; ++head) {
        double total = 0;
        for (size_t j = 0; j < 11; ++j) total += static_cast<double>(at(r, head, i, j));
        EXPECT_NEAR(total, 1, 1e-5);
      }
      const float seven = (at(r, 0, i, 7) + at(r, 1, i, 7)) / 2, two = (at(r, 0, i, 2) + at(r, 1, i, 2)) / 2;
      EXPECT_NEAR(m[(r * 35 + i) * 3], seven, 1e-6);
      EXPECT_NEAR(m[(r * 35 + i) * 3 + 1], two, 1e-6);
      EXPECT_EQ(m[(r * 35 + i) * 3], m[(r * 35 + i) * 3 + 2]);
    }
  }
}

// A weight that is made at run time acts on the output, never on the map that is read.
TEST(Captures, WeightsLeaveCapturesAlone) {
  const CompiledPlan plan = planned([](PlanBuilder& p) {
    site_at(p, 1).declare(Take{Role::v, source, where(35, [](int64_t i) { return i < 9; })});
    site_at(p, 1).declare(Weigh{.text = "half", .constant = 1, .at_run_time = [](const TermPlace&) {
                                  return Tensor::full({1, 35}, 0.5f);
                                }});
    site_at(p, 1).declare(Capture{.name = "looks", .keys = {1, 2}});
  });
  const CompiledPlan reads = planned([](PlanBuilder& p) {
    site_at(p, 1).declare(Capture{.name = "looks", .keys = {1, 2}});
  });
  Call call(&plan), plain(&reads);
  call();
  plain();
  expect_near(call.captures.at("looks").at(1).values, plain.captures.at("looks").at(1).values);
}

}  // namespace
}  // namespace heddle
