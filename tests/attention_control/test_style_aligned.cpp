// StyleAligned: AdaIN's statistics, the biased softmax of two segments, which layers share.
#include <gtest/gtest.h>

#include "attention_control/plugins/adaptive_norm.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/declared.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

using namespace testing;

RunShape shape(int layers = 4) {
  return run_shape({{"image0", "a train"}, {"image1", "a boat"}, {"image2", "a hat"}}, 10, layers);
}

Declared aligned(const std::string& more, const RunShape& run) {
  return declare("style_aligned", "{prompts: [a train, a boat, a hat]" + more + "}", run);
}

// Mean and deviation over tokens of one row's head and channel.
std::pair<double, double> statistics(const Tensor& x, int64_t row, int64_t column) {
  const std::vector<float> values = row_of(x, row);
  const int64_t tokens = x.dim(1), width = x.dim(2) * x.dim(3);
  double mean = 0, square = 0;
  for (int64_t i = 0; i < tokens; ++i)
    mean += values[static_cast<size_t>(i * width + column)] / static_cast<double>(tokens);
  for (int64_t i = 0; i < tokens; ++i) square += std::pow(values[static_cast<size_t>(i * width + column)] - mean, 2);
  return {mean, std::sqrt(square / static_cast<double>(tokens - 1))};
}

TEST(AdaptiveNorm, TakesOverMeanAndDeviation) {
  const Tensor x = random_tensor({2, 64, 2, 4}, 1);
  const Tensor style = add_constant(scale(random_tensor({2, 64, 2, 4}, 2), 3), 5);
  const Tensor y = adaptive_norm(x, style);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 8; ++column) {
      EXPECT_NEAR(statistics(y, row, column).first, statistics(style, row, column).first, 1e-4);
      EXPECT_NEAR(statistics(y, row, column).second, statistics(style, row, column).second, 1e-4);
    }
  }
  EXPECT_LE(difference(row_of(adaptive_norm(x, x), 0), row_of(x, 0)), 1e-6);
}

TEST(StyleAligned, ReferenceIsUntouchedForAnyShift) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 3);
  const Tensor plain = attended(nullptr, run, 0, p);
  for (const std::string shift : {"-3", "0", "4"}) {
    const Declared d = aligned(", reference_gain: {shift: " + shift + "}", run);
    const Tensor out = attended(&d.plan, run, 0, p);
    for (const int64_t row : {0, 3}) EXPECT_EQ(row_of(out, row), row_of(plain, row));
    for (const int64_t row : {1, 2, 4, 5}) EXPECT_GT(difference(row_of(out, row), row_of(plain, row)), 1e-2);
  }
}

// Scores of own keys, then of the reference's, scaled and shifted, in one softmax.
TEST(StyleAligned, SegmentsMergeAsOneBiasedSoftmax) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 5);
  const std::string off = ", share: {adain: {q: false, k: false}}, reference_gain: {shift: 0.7, scale: 0.5}";
  const Declared d = aligned(off, run);
  const std::vector<float> out = row_of(attended(&d.plan, run, 0, p), 4);
  const std::vector<float> q = row_of(p.q, 4), k = row_of(p.k, 4), v = row_of(p.v, 4), rk = row_of(p.k, 3),
                           rv = row_of(p.v, 3);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t head = 0; head < 2; ++head) {
      std::array<double, 4> total{};
      double sum = 0;
      for (size_t j = 0; j < 32; ++j) {
        const auto at = [&](size_t d) { return ((j % 16) * 2 + head) * 4 + d; };
        double score = 0;
        for (size_t d = 0; d < 4; ++d) score += q[(i * 2 + head) * 4 + d] * (j < 16 ? k[at(d)] : 0.5 * rk[at(d)]) / 2;
        const double weight = std::exp(score + (j < 16 ? 0 : 0.7));
        sum += weight;
        for (size_t d = 0; d < 4; ++d) total[d] += weight * (j < 16 ? v[at(d)] : rv[at(d)]);
      }
      for (size_t d = 0; d < 4; ++d) EXPECT_NEAR(out[(i * 2 + head) * 4 + d], total[d] / sum, 1e-6);
    }
  }
}

TEST(StyleAligned, ExtremeShiftsLeaveOneSource) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 6);
  const std::string off = ", share: {adain: {q: false, k: false}}, reference_gain: {shift: ";
  const Tensor plain = attended(nullptr, run, 0, p);
  const Declared d = aligned(off + "-1000}", run);
  EXPECT_LE(difference(row_of(attended(&d.plan, run, 0, p), 4), row_of(plain, 4)), 1e-6);
  const Declared all = aligned(off + "1000}", run);
  const std::vector<int64_t> reference{0, 0, 0, 3, 3, 3};
  const Tensor only = attended(nullptr, run, 0, {p.q, gather(p.k, 0, reference), gather(p.v, 0, reference)});
  EXPECT_LE(difference(row_of(attended(&all.plan, run, 0, p), 4), row_of(only, 4)), 1e-6);
}

std::vector<std::string> shared_sites(const CompiledPlan& plan) {
  std::vector<std::string> out;
  for (const auto& s : plan.sections()) {
    if (s.branch == Branch::cond && s.member == 1 && s.pass == Pass::denoise)
      out.push_back(plan.run().sites[static_cast<size_t>(s.site)].name);
  }
  return out;
}

TEST(StyleAligned, FractionChoosesEvenlySpacedLayers) {
  const RunShape run = shape(8);
  EXPECT_EQ(shared_sites(aligned("", run).plan).size(), 8u);
  EXPECT_EQ(shared_sites(aligned(", share: {fraction: 0.5}", run).plan),
            (std::vector<std::string>{"layer0.self", "layer2.self", "layer4.self", "layer6.self"}));
  // 0, 2.5 -> 2, 5, 7.5 -> 8
  EXPECT_EQ(shared_sites(aligned(", share: {fraction: 0.4}", run).plan),
            (std::vector<std::string>{"layer0.self", "layer2.self", "layer5.self"}));
  EXPECT_TRUE(aligned(", share: {fraction: 0}", run).plan.sections().empty());
}

// Rows: uncond lanes, cond lanes.
TEST(StyleAligned, GroupNormsAreSharedWithTheFirstOfTheirBranch) {
  RunShape run = shape();
  run.group_norms = 5;
  const auto partners = [&](const Declared& d, const std::vector<Branch>& branches, Pass pass, int64_t pictures) {
    AttentionContext context{.moment = {.step = 0, .steps = run.steps, .pass = pass},
                             .lanes = lanes_of(run, branches, pictures),
                             .plan = &d.plan,
                             .captures = nullptr,
                             .bank = nullptr};
    return norm_partners(context, context.lanes.back().end);
  };
  const std::vector<Branch> both{Branch::uncond, Branch::cond};
  using Rows = std::vector<int64_t>;
  for (const char* share :
       {"{group_norm: true}", "{group_norm: true, mode: full}", "{group_norm: true, fraction: 0}"}) {
    const Declared d = aligned(std::string(", share: ") + share, run);
    EXPECT_EQ(partners(d, both, Pass::denoise, 1), (Rows{0, 0, 0, 3, 3, 3})) << share;
    EXPECT_EQ(partners(d, both, Pass::denoise, 2), (Rows{0, 1, 0, 1, 0, 1, 6, 7, 6, 7, 6, 7})) << share;
    EXPECT_EQ(partners(d, {Branch::cond}, Pass::guide, 1), (Rows{0, 0, 0})) << share;
    EXPECT_EQ(partners(d, {Branch::perturbed}, Pass::denoise, 1), (Rows{0, 0, 0})) << share;
    EXPECT_EQ(partners(d, {Branch::cond}, Pass::invert, 1), Rows{}) << share;
  }
  EXPECT_EQ(partners(aligned("", run), both, Pass::denoise, 1), Rows{});
}

TEST(StyleAligned, GroupNormsNeedANetworkThatHasThem) {
  EXPECT_EQ(refusal_of([] { aligned(", share: {group_norm: true}", shape()); }, "composed"),
            "[test.yaml:1 share.group_norm] wanted a network with group norms; got one whose norms are of each token "
            "by itself; try a UNet, or leaving it out");
}

}  // namespace
}  // namespace heddle
