// MasaCtrl at one site: its variants against one another, branches kept apart, layers and steps.
#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/declared.h"

namespace heddle {
namespace {

using namespace testing;

constexpr const char* half = "[[1, 1, 0, 0]]";
constexpr const char* full = "[[1]]";

RunShape shape() {
  return run_shape({{"source", "a sitting cat"}, {"target", "a jumping cat"}});
}

Declared masactrl(const std::string& more, const RunShape& run) {
  return declare(
      "masactrl",
      "{source: {prompt: a sitting cat}, target_prompt: a jumping cat, start_step: 0, start_layer: 0, " + more + "}",
      run);
}

// Softmax over the keys of `from` for the queries of `to`: a plain attention whose row `to` has the other's k and v.
std::vector<float> replaced(const RunShape& run, const Projections& p, int64_t from, int64_t to) {
  const auto with = [&](const Tensor& x) {
    std::vector<int64_t> rows{0, 1, 2, 3};
    rows[static_cast<size_t>(to)] = from;
    return gather(x, 0, rows);
  };
  return row_of(attended(nullptr, run, 0, {p.q, with(p.k), with(p.v)}), to);
}

TEST(MasaCtrl, ReplaceReadsTheSourceOfItsOwnBranch) {
  const RunShape run = shape();
  const Declared d = masactrl("variant: replace", run);
  Projections p = projections(run, 0, 3);
  const Tensor out = attended(&d.plan, run, 0, p), plain = attended(nullptr, run, 0, p);
  EXPECT_EQ(row_of(out, 0), row_of(plain, 0));
  EXPECT_EQ(row_of(out, 2), row_of(plain, 2));
  EXPECT_LE(difference(row_of(out, 1), replaced(run, p, 0, 1)), 1e-6);
  EXPECT_LE(difference(row_of(out, 3), replaced(run, p, 2, 3)), 1e-6);
  // A poisoned unconditional source reaches nothing conditional.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  p.v = concat({Tensor::full({1, 16, 2, 4}, nan), slice(p.v, 0, 1, 4)}, 0);
  EXPECT_EQ(row_of(attended(&d.plan, run, 0, p), 3), row_of(out, 3));
}

TEST(MasaCtrl, UnionIsOneSoftmaxOverBoth) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 4);
  const Declared both = masactrl("variant: union", run);
  const Tensor out = attended(&both.plan, run, 0, p);
  for (const int64_t source : {0, 2}) {
    const auto row = [](const Tensor& x, int64_t at) { return slice(x, 0, at, at + 1); };
    const auto joined = [&](const Tensor& x) { return concat({row(x, source + 1), row(x, source)}, 1); };
    const Tensor want = attention_reference(row(p.q, source + 1), joined(p.k), joined(p.v), {}).out;
    EXPECT_LE(difference(row_of(out, source + 1), want.to_vector()), 1e-6);
  }
}

TEST(MasaCtrl, FullOrEmptySourceMasksAreReplace) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 6);
  const Declared replace = masactrl("variant: replace", run);
  for (const std::string source : {full, "[[0]]"}) {
    const Declared mask = masactrl("variant: mask, masks: {source: " + source + ", target: " + half + "}", run);
    EXPECT_LE(difference(row_of(attended(&mask.plan, run, 0, p), 3), row_of(attended(&replace.plan, run, 0, p), 3)),
              1e-6);
  }
}

TEST(MasaCtrl, MasksKeepSubjectAndBackgroundApart) {
  const RunShape run = shape();
  Projections p = projections(run, 0, 7);
  const Declared mask =
      masactrl("variant: mask, masks: {source: " + std::string(half) + ", target: " + half + "}", run);
  const std::vector<float> before = row_of(attended(&mask.plan, run, 0, p), 3);
  // Other values of the source's background (columns 2 and 3 of the grid): only the target's background sees them.
  std::vector<float> change(4 * 16 * 2 * 4, 0);
  for (size_t token = 0; token < 16; ++token) {
    for (size_t i = 0; i < 8 && token % 4 >= 2; ++i) change[(2 * 16 + token) * 8 + i] = 5;
  }
  p.v = add(p.v, Tensor::from(std::span<const float>(change), {4, 16, 2, 4}));
  const std::vector<float> after = row_of(attended(&mask.plan, run, 0, p), 3);
  for (size_t token = 0; token < 16; ++token) {
    for (size_t i = 0; i < 8; ++i) {
      const float moved = after[token * 8 + i] - before[token * 8 + i];
      EXPECT_NEAR(moved, token % 4 < 2 ? 0 : 5, 1e-4) << "token " << token;
    }
  }
}

TEST(MasaCtrl, MasksOfMapsNeedNoMapYet) {
  const RunShape run = shape();
  const Projections p = projections(run, 0, 8);
  const Declared replace = masactrl("variant: replace", run);
  const Declared automatic = masactrl("variant: mask_auto, foreground_tokens: {source: cat, target: cat}", run);
  EXPECT_LE(difference(row_of(attended(&automatic.plan, run, 0, p), 3), row_of(attended(&replace.plan, run, 0, p), 3)),
            1e-6);
}

std::vector<std::string> edited_sites(const CompiledPlan& plan, int step) {
  std::vector<std::string> out;
  for (const auto& s : plan.sections()) {
    if (s.branch == Branch::cond && s.pass == Pass::denoise && s.steps.contains(step))
      out.push_back(plan.run().sites[static_cast<size_t>(s.site)].name);
  }
  return out;
}

TEST(MasaCtrl, LayersAndStepsBeginWhereAsked) {
  const RunShape run = run_shape({{"source", "a cat"}, {"target", "a dog"}}, 50, 16);
  const std::string prompts = "{source: {prompt: a cat}, target_prompt: a dog";
  const Declared d = declare("masactrl", prompts + "}", run);
  EXPECT_TRUE(edited_sites(d.plan, 3).empty());
  EXPECT_EQ(edited_sites(d.plan, 4), (std::vector<std::string>{"layer10.self", "layer11.self", "layer12.self",
                                                               "layer13.self", "layer14.self", "layer15.self"}));
  const Declared share = declare("masactrl", prompts + ", start_step: 0.1, layers: [1, layer3]}", run);
  EXPECT_TRUE(edited_sites(share.plan, 4).empty());
  EXPECT_EQ(edited_sites(share.plan, 49), (std::vector<std::string>{"layer1.self", "layer3.self"}));
  EXPECT_TRUE(declare("masactrl", prompts + ", start_step: 50}", run).plan.sections().empty());
}

TEST(MasaCtrl, SettingsThatContradictAreErrors) {
  const RunShape run = shape();
  EXPECT_THROW(masactrl("variant: mask", run), Error);
  EXPECT_THROW(masactrl("masks: {source: [[1]], target: [[1]]}", run), Error);
  EXPECT_THROW(masactrl("variant: mask_auto", run), Error);
  EXPECT_THROW(masactrl("layers: [4]", run), Error);
  EXPECT_THROW(masactrl("layers: [layer9]", run), Error);
  EXPECT_THROW(masactrl("variant: mask, masks: {source: [[1], [1, 0]], target: [[1]]}", run), Error);
  EXPECT_THROW(masactrl("variant: mask, masks: {source: no_such_file.png, target: [[1]]}", run), Error);
}

}  // namespace
}  // namespace heddle
