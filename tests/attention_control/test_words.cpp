// Words of a prompt to token positions: pieces, repeated words, letter case, punctuation, cut prompts.
#include <gtest/gtest.h>

#include "attention_control/plan/words.h"
#include "kernels/core/error.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

using Positions = std::vector<int64_t>;

// Tokens of at most `piece` bytes from the runs of letters, every other visible byte by itself; `window` tokens at
// most.
PromptTokens tokenized(const std::string& text, size_t piece, size_t window = 75) {
  PromptTokens out{.text = text, .tokens = {}, .end = 0, .length = static_cast<int64_t>(window) + 2};
  const auto letter = [](char c) {
    return static_cast<unsigned char>(c) >= 128 || std::isalnum(static_cast<unsigned char>(c));
  };
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (letter(text[i])) {
      while (end < text.size() && end - i < piece && letter(text[end])) ++end;
    }
    if (text[i] != ' ' && out.tokens.size() < window)
      out.tokens.push_back({.position = static_cast<int64_t>(out.tokens.size()) + 1, .begin = i, .end = end});
    i = end;
  }
  out.end = static_cast<int64_t>(out.tokens.size()) + 1;
  return out;
}

std::string refusal(const PromptTokens& prompt, const std::string& words) {
  return testing::refusal_of([&] { prompt.find(words, "p.yaml:3"); }, "found");
}

TEST(Words, AreFoundByTheirTokens) {
  const PromptTokens prompt = tokenized("a cat and a red balloon", 99);
  EXPECT_EQ(prompt.find("cat", ""), (Positions{2}));
  EXPECT_EQ(prompt.find("red balloon", ""), (Positions{5, 6}));
}

TEST(Words, SeveralPiecesBelongToOneWord) {
  const PromptTokens prompt = tokenized("a hippopotamus and a cat", 4);  // hipp|opot|amus
  EXPECT_EQ(prompt.find("hippopotamus", ""), (Positions{2, 3, 4}));
  EXPECT_EQ(prompt.find("cat", ""), (Positions{7}));
}

TEST(Words, OnePieceMayHoldTheEndOfAWord) {
  PromptTokens prompt = tokenized("ice cream", 99);
  prompt.tokens = {{1, 0, 5}, {2, 5, 9}};  // "ice c" and "ream"
  EXPECT_EQ(prompt.find("ice", ""), (Positions{1}));
  EXPECT_EQ(prompt.find("cream", ""), (Positions{1, 2}));
}

TEST(Words, RepeatedOnesAreAllMeantOrOneByItsNumber) {
  const PromptTokens prompt = tokenized("a cat, a dog and a cat", 99);
  EXPECT_EQ(prompt.find("cat", ""), (Positions{2, 8}));
  EXPECT_EQ(prompt.find("cat#1", ""), (Positions{2}));
  EXPECT_EQ(prompt.find("cat#2", ""), (Positions{8}));
  EXPECT_EQ(refusal(prompt, "cat#3"),
            "[p.yaml:3] wanted words of the prompt, not \"cat#3\"; got 2 of it in \"a cat, a dog and a cat\"");
}

TEST(Words, ANumberSignMayBeMeantItself) {
  EXPECT_EQ(tokenized("a C# book", 99).find("C#", ""), (Positions{2, 3}));
  EXPECT_EQ(tokenized("number #x", 99).find("#x", ""), (Positions{2, 3}));
  EXPECT_NE(refusal(tokenized("a cat", 99), "cat#0"), "found");
  EXPECT_NE(refusal(tokenized("a cat", 99), "cat#99999999999999999999"), "found");
  EXPECT_NE(refusal(tokenized("a cat", 99), "#1"), "found");
}

TEST(Words, LetterCaseIsIgnoredAndUtf8IsNot) {
  const PromptTokens prompt = tokenized("A Caf\xc3\xa9 in Paris", 99);
  EXPECT_EQ(prompt.find("caf\xc3\xa9", ""), (Positions{2}));
  EXPECT_EQ(prompt.find("PARIS", ""), (Positions{4}));
  EXPECT_NE(refusal(prompt, "caf"), "found");  // a byte of é goes on with the word
}

TEST(Words, PunctuationIsNoPartOfAWord) {
  const PromptTokens prompt = tokenized("(cat), catfish; \"cat\".", 99);
  EXPECT_EQ(prompt.find("cat", ""), (Positions{2, 8}));
  EXPECT_EQ(prompt.find("cat),", ""), (Positions{2, 3, 4}));
  EXPECT_EQ(prompt.find("catfish", ""), (Positions{5}));
  const PromptTokens hyphen = tokenized("semi-dry", 99);
  EXPECT_EQ(hyphen.find("semi-", ""), (Positions{1, 2}));  // words that end in it need no end behind it
  EXPECT_EQ(hyphen.find("-dry", ""), (Positions{2, 3}));
}

TEST(Words, PartsOfWordsAreNotFound) {
  const PromptTokens prompt = tokenized("a catfish", 99);
  EXPECT_EQ(refusal(prompt, "cat"), "[p.yaml:3] wanted words of the prompt, not \"cat\"; got \"a catfish\"");
  EXPECT_NE(refusal(prompt, "fish"), "found");
  EXPECT_NE(refusal(prompt, ""), "found");
}

TEST(Words, CutByTheWindow) {
  const PromptTokens prompt = tokenized("one two three hippopotamus", 4, 5);  // one two thre e hipp
  EXPECT_EQ(prompt.find("hippopotamus", ""), (Positions{5}));                 // what is left of it
  EXPECT_EQ(refusal(tokenized("one two three cat", 4, 4), "cat"),
            "[p.yaml:3] wanted words inside the text encoder's window, not \"cat\"; got a prompt cut before them; try "
            "text.long_prompts: chunks, or where T5 reads a larger text.max_sequence_length");
}

}  // namespace
}  // namespace heddle
