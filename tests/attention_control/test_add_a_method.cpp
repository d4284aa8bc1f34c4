// The walk-through of docs/attention_control.md, "add a method", compiled: spotlight. In the engine its parts are
// plugins/spotlight.cpp, a preset and a promise.
#include <gtest/gtest.h>

#include <cmath>

#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/token_words.h"
#include "tests/attention_control/declared.h"
#include "tests/support/quoted_page.h"

namespace heddle {
namespace {

// The conditional branch looks less at everything but some words.
struct Spotlight final : Method {
  TokenWords words;
  double dim = 0.5;

  static Params<Spotlight> params() {
    return {need("words", &Spotlight::words, "the words to look at"),
            opt("dim", &Spotlight::dim, range(0, 1), "weight of all other words")};
  }

  void declare(PlanBuilder& plan) override {
    for (const SiteScope& site : text_sites(plan)) {
      for (size_t m = 0; m < plan.run().members.size(); ++m) {
        const PromptTokens& prompt = plan.run().members[m].words;
        std::vector<float> bias(static_cast<size_t>(prompt.length), static_cast<float>(std::log(dim)));
        for (const int64_t token : words.positions(prompt, plan.where())) bias[static_cast<size_t>(token)] = 0;
        const Tensor column = Tensor::from(std::span<const float>(bias), {1, prompt.length});
        site.lane(Branch::cond)
            .member(static_cast<int>(m))
            .declare(AddScore{{.text = "dim other words", .form = text_column(column, site.tokens())}});
      }
    }
  }
};

REGISTER_METHOD(spotlight, Spotlight, "looks less at other words", "where it is published");

// With weight 0 for all others, the words' values are all that is left.
TEST(AddAMethod, SpotlightLooksAtItsWordsOnly) {
  const RunShape run = testing::run_shape({{"", "a cat on snow"}});
  const testing::Declared all = testing::declare("spotlight", "{words: cat, dim: 0}", run);
  const testing::Projections p = testing::projections(run, 1, 5);
  const std::vector<float> seen = testing::row_of(testing::attended(&all.plan, run, 1, p), 1);
  const std::vector<float> values = testing::row_of(p.v, 1);  // [12 tokens, 2 heads, 4]
  const int64_t cat = 2 * 2 * 4;                              // token 2: the start token and "a" come before
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_NEAR(seen[i], values[static_cast<size_t>(cat) + i % 8], 1e-5);
}

TEST(AddAMethod, FullWeightIsThePlainRun) {
  const RunShape run = testing::run_shape({{"", "a cat on snow"}});
  const testing::Declared none = testing::declare("spotlight", "{words: cat, dim: 1}", run);
  const testing::Projections p = testing::projections(run, 1, 5);
  EXPECT_LE(testing::difference(testing::row_of(testing::attended(&none.plan, run, 1, p), 1),
                                testing::row_of(testing::attended(nullptr, run, 1, p), 1)),
            1e-6);
}

// Each C++ block of the page stands in this file, so the page compiles.
TEST(AddAMethod, ThePageQuotesThisFile) {
  EXPECT_EQ(testing::quoted_blocks("docs/attention_control.md", "tests/attention_control/test_add_a_method.cpp"), 1);
}

}  // namespace
}  // namespace heddle
