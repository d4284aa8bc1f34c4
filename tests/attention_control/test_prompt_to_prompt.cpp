// Prompt-to-Prompt: alignments of hand cases, gates as steps, and what the plan computes at one site.
#include <gtest/gtest.h>

#include "attention_control/plugins/token_alignment.h"
#include "attention_control/plugins/word_gates.h"
#include "kernels/core/error.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/declared.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

using namespace testing;

// The source token with the whole share of each target token; -1 where the target is not aligned.
std::vector<int64_t> partners(const TokenAlignment& a, int64_t tokens) {
  std::vector<int64_t> out;
  for (int64_t t = 0; t < tokens; ++t) {
    out.push_back(-1);
    for (int64_t c = 0; c < a.slots; ++c) {
      if (a.at(c, t) == 1) out.back() = c;
    }
    EXPECT_EQ(a.aligned[static_cast<size_t>(t)], out.back() >= 0 ? 1.0f : 0.0f);
  }
  return out;
}

TEST(TokenAlignment, InsertedWordsHaveNoPartner) {
  // start a cat | start a very big cat end
  EXPECT_EQ(partners(align_tokens(pieces("a cat"), pieces("a very big cat")), 8),
            (std::vector<int64_t>{0, 1, -1, -1, 2, 3, 6, 7}));
}

TEST(TokenAlignment, DeletedWordsAreSkipped) {
  EXPECT_EQ(partners(align_tokens(pieces("a very big cat"), pieces("a cat")), 6),
            (std::vector<int64_t>{0, 1, 4, 5, 4, 5}));
}

TEST(TokenAlignment, AnotherWordIsNoMatch) {
  EXPECT_EQ(partners(align_tokens(pieces("a cat sits"), pieces("a dog sits")), 5),
            (std::vector<int64_t>{0, 1, -1, 3, 4}));
}

TEST(TokenAlignment, EqualPromptsAlignToThemselves) {
  EXPECT_TRUE(align_tokens(pieces("a red ball|oon"), pieces("a red ball|oon")).is_identity());
  EXPECT_TRUE(replace_words(pieces("a red cat"), pieces("a red dog"), "").is_identity());
}

TEST(TokenAlignment, ReplacedWordsShareTheirMassOverPieces) {
  const TokenAlignment a = replace_words(pieces("a cat sits"), pieces("a ball|oon sits"), "");
  EXPECT_EQ(a.at(2, 2), 0.5f);
  EXPECT_EQ(a.at(2, 3), 0.5f);
  EXPECT_EQ(a.at(3, 4), 1.0f);  // words behind the change move along
  EXPECT_EQ(a.at(4, 5), 1.0f);  // so do end and padding
  for (int64_t c = 0; c + 1 < a.slots; ++c) {
    float mass = 0;
    for (int64_t t = 0; t < a.slots; ++t) mass += a.at(c, t);
    EXPECT_FLOAT_EQ(mass, 1) << "source token " << c;
  }
}

TEST(TokenAlignment, FewerPiecesTakeAllOfTheSource) {
  const TokenAlignment a = replace_words(pieces("a ball|oon sits"), pieces("a cat sits"), "");
  EXPECT_EQ(a.at(2, 2), 1.0f);
  EXPECT_EQ(a.at(3, 2), 1.0f);
  EXPECT_EQ(a.at(4, 3), 1.0f);
  EXPECT_EQ(a.at(5, 4), 1.0f);
}

TEST(TokenAlignment, UnequalNumbersOfWordsAreAnError) {
  EXPECT_THROW(replace_words(pieces("a cat"), pieces("a big cat"), "here"), Error);
}

std::vector<int> open_steps(const Gate& gate, int steps, int length) {
  std::vector<int> out;
  for (int i = 0; i < steps; ++i) {
    if (is_open(gate, i, length)) out.push_back(i);
  }
  return out;
}

TEST(WordGates, StepsOfFifty) {
  const auto range = [](const std::vector<int>& v) { return std::pair(v.front(), v.back()); };
  EXPECT_EQ(range(open_steps({0, 0.8}, 50, 51)), std::pair(0, 39));
  EXPECT_EQ(range(open_steps({0, 0.4}, 50, 51)), std::pair(0, 19));
  EXPECT_EQ(range(open_steps({0.2, 0.6}, 50, 51)), std::pair(10, 29));
  EXPECT_EQ(range(open_steps({0, 1}, 50, 51)), std::pair(0, 49));
  EXPECT_EQ(range(open_steps({0, 0.4}, 50, 50)), std::pair(0, 19));  // self-attention
  EXPECT_TRUE(open_steps({0, 0}, 50, 51).empty());
}

TEST(WordGates, WordsHaveGatesOfTheirOwn) {
  WordGates gates;
  ParamType<WordGates>::read(parse_yaml("{default: 0.8, cat: [0.5, 1]}", "t"), {}, gates);
  const PromptTokens prompt = pieces("a cat");
  EXPECT_EQ(open_tokens(gates, prompt, 0, 10)[1], 1.0f);
  EXPECT_EQ(open_tokens(gates, prompt, 0, 10)[2], 0.0f);
  EXPECT_EQ(open_tokens(gates, prompt, 9, 10)[1], 0.0f);
  EXPECT_EQ(open_tokens(gates, prompt, 9, 10)[2], 1.0f);
}

// softmax(q k^T / 2) of one lane and one head, [Nq][Nk].
std::vector<std::vector<double>> map_of(const Projections& p, int64_t row, int64_t head) {
  const std::vector<float> q = row_of(p.q, row), k = row_of(p.k, row);
  std::vector<std::vector<double>> map(static_cast<size_t>(p.q.dim(1)));
  for (size_t i = 0; i < map.size(); ++i) {
    double sum = 0;
    for (int64_t j = 0; j < p.k.dim(1); ++j) {
      double s = 0;
      for (int64_t d = 0; d < 4; ++d)
        s += q[static_cast<size_t>((static_cast<int64_t>(i) * 2 + head) * 4 + d)] *
             k[static_cast<size_t>((j * 2 + head) * 4 + d)];
      sum += map[i].emplace_back(std::exp(s / 2));
    }
    for (double& w : map[i]) w /= sum;
  }
  return map;
}

// The formula of the page, written out: gates a, weights w, the source's map aligned.
TEST(PromptToPrompt, TargetsMapIsThePapers) {
  const RunShape run = run_shape({{"source", "a cat sits"}, {"target", "a ball|oon sits"}});
  const Declared d = declare("prompt_to_prompt",
                             "{source_prompt: a cat sits, target_prompt: a balloon sits, self_replace: 0, "
                             "cross_replace: {default: 1, sits: 0.2}, weights: {a: 3, balloon: -0.5}}",
                             run);
  const Projections p = projections(run, 1, 5);
  const int step = 6;  // the gate of "sits" is closed
  const std::vector<float> out = row_of(attended(&d.plan, run, 1, p, step), 3);
  const std::vector<float> v = row_of(p.v, 3);
  const TokenAlignment a = replace_words(run.members[0].words, run.members[1].words, "");
  double worst = 0;
  for (int64_t head = 0; head < 2; ++head) {
    const auto source = map_of(p, 2, head), own = map_of(p, 3, head);
    for (size_t i = 0; i < source.size(); ++i) {
      std::array<double, 4> expected{};
      for (int64_t t = 0; t < 12; ++t) {
        double edited = 0;
        for (int64_t c = 0; c < 12; ++c) edited += source[i][static_cast<size_t>(c)] * a.at(c, t);
        edited *= t == 1 ? 3 : t == 2 || t == 3 ? -0.5 : 1;
        const double weight = t == 4 ? own[i][static_cast<size_t>(t)] : edited;
        for (int64_t e = 0; e < 4; ++e)
          expected[static_cast<size_t>(e)] += weight * v[static_cast<size_t>((t * 2 + head) * 4 + e)];
      }
      for (size_t e = 0; e < 4; ++e)
        worst = std::max(worst, std::abs(expected[e] - out[(i * 2 + static_cast<size_t>(head)) * 4 + e]));
    }
  }
  EXPECT_LE(worst, 2e-6);
}

TEST(PromptToPrompt, OnlyTheConditionalTargetIsEdited) {
  const RunShape run = run_shape({{"source", "a cat"}, {"target", "a dog"}});
  const Declared d = declare("prompt_to_prompt", "{source_prompt: a cat, target_prompt: a dog}", run);
  for (const int site : {0, 1}) {
    const Projections p = projections(run, site, 9);
    const Tensor edited = attended(&d.plan, run, site, p), plain = attended(nullptr, run, site, p);
    for (const int64_t row : {0, 1, 2}) EXPECT_EQ(row_of(edited, row), row_of(plain, row)) << "site " << site;
    EXPECT_GT(difference(row_of(edited, 3), row_of(plain, 3)), 1e-2);
  }
}

TEST(PromptToPrompt, ClosedGatesDeclareNothing) {
  const RunShape run = run_shape({{"source", "a cat"}, {"target", "a dog"}});
  const Declared d = declare(
      "prompt_to_prompt",
      "{source_prompt: a cat, target_prompt: a dog, cross_replace: 0, self_replace: 0, weights: {dog: 4}}", run);
  EXPECT_TRUE(d.plan.sections().empty());
}

TEST(PromptToPrompt, StaysFused) {
  const RunShape run = run_shape({{"source", "a cat"}, {"target", "a very big dog"}});
  const Declared d =
      declare("prompt_to_prompt", "{source_prompt: a cat, target_prompt: a very big dog, edit: refine}", run);
  ASSERT_FALSE(d.plan.sections().empty());
  for (const auto& section : d.plan.sections()) EXPECT_EQ(tier_of(section.program.get()), Tier::fused);
}

TEST(PromptToPrompt, WordsThatNoTargetHasAreAnError) {
  const RunShape run = run_shape({{"source", "a cat"}, {"target", "a dog"}});
  for (const std::string where : {"weights", "cross_replace"}) {
    const std::string said = refusal_of([&] {
      declare("prompt_to_prompt", "{source_prompt: a cat, target_prompt: a dog, " + where + ": {cat: 0.5}}", run);
    });
    EXPECT_NE(said.find(where + "] wanted words of the prompt, not \"cat\""), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace heddle
