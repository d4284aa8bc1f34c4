// Prompt weights, chunks of long prompts, and that both are off unless asked for.
#include "encoders/prompt.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"

namespace heddle {
namespace {

const ClipTokenizer& tokenizer() {
  static const ClipTokenizer loaded = ClipTokenizer::load(std::string(HEDDLE_FIXTURES) + "/encoders/tokenizer/pair");
  return loaded;
}

// "text*weight|..." with BREAK as "/".
std::string shown(std::string_view prompt) {
  std::string out;
  for (const WeightedText& run : parse_weights(prompt)) {
    char weight[32];
    std::snprintf(weight, sizeof weight, "*%.4g|", run.weight);
    out += run.breaks ? "/|" : run.text + weight;
    EXPECT_EQ(run.text.size(), run.source.size());
    for (size_t i = 0; i < run.text.size(); ++i) EXPECT_EQ(prompt[run.source[i]], run.text[i]);
  }
  return out;
}

TEST(Prompt, reads_weights_as_the_web_ui) {
  EXPECT_EQ(shown("normal text"), "normal text*1|");
  EXPECT_EQ(shown("an (important) word"), "an *1|important*1.1| word*1|");
  EXPECT_EQ(shown("(unbalanced"), "unbalanced*1.1|");
  EXPECT_EQ(shown("\\(literal\\]"), "(literal]*1|");
  EXPECT_EQ(shown("(unnecessary)(parens)"), "unnecessaryparens*1.1|");
  EXPECT_EQ(shown("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."),
            "a *1|house*1.573| *1.1|on*1| a *1.1|hill*0.55|, sun, *1.1|sky*1.464|.*1.1|");
  EXPECT_EQ(shown(""), "*1|");
  EXPECT_EQ(shown("()"), "*1|");
  EXPECT_EQ(shown("a) b] c: d :1.3)"), "a) b] c: d :1.3)*1|");
  EXPECT_EQ(shown("(a: 1.5 ) (b:-.5) (c:+2)"), "a*1.5| *1|b*-0.5| *1|c*2|");
  EXPECT_EQ(shown("(a:1.2.3) (b:x) (c:)"), "a:1.2.3*1.1| *1|b:x*1.1| *1|c:*1.1|");
  EXPECT_EQ(shown("[[a]] \\\\ \\x \\"), "a*0.8264| \\ x *1|");
  EXPECT_EQ(shown("猫 (犬:1.2)"), "猫 *1|犬*1.2|");
}

TEST(Prompt, reads_breaks) {
  EXPECT_EQ(shown("a cat BREAK a dog"), "a cat*1|/|a dog*1|");
  EXPECT_EQ(shown("BREAK"), "/|");
  EXPECT_EQ(shown("a, BREAK(b) BREAK BREAK c"), "a,*1|/|b*1.1|/|/|c*1|");
  EXPECT_EQ(shown("BREAKING OUTBREAK break"), "BREAKING OUTBREAK break*1|");
}

TEST(Prompt, off_is_the_plain_tokenizer) {
  const std::string prompt = "a (cat:1.3) BREAK [dog] " + std::string(200, 'x');
  const auto chunks = chunk_prompt(tokenizer(), prompt, {});
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].ids, tokenizer().encode_padded(prompt));
  EXPECT_EQ(chunks[0].weights, std::vector<float>(77, 1.0f));
}

TEST(Prompt, long_prompts_come_in_windows_between_begin_and_end) {
  std::string prompt;
  for (int i = 0; i < 80; ++i) prompt += "a cat ";
  const auto ids = tokenizer().encode(prompt);
  ASSERT_EQ(ids.size(), 160u);
  const auto chunks = chunk_prompt(tokenizer(), prompt, {.long_prompts = true});
  ASSERT_EQ(chunks.size(), 3u);
  std::vector<int64_t> joined;
  for (const PromptChunk& chunk : chunks) {
    ASSERT_EQ(chunk.ids.size(), 77u);
    EXPECT_EQ(chunk.ids[0], tokenizer().bos());
    for (size_t i = 1; i < 76 && joined.size() < ids.size(); ++i) joined.push_back(chunk.ids[i]);
  }
  EXPECT_EQ(joined, ids);
  EXPECT_EQ(chunks[0].ids[76], tokenizer().eos());
  EXPECT_EQ(chunks[2].ids[11], tokenizer().eos());
  for (const char* text : {"", "a cat"}) {
    const auto one = chunk_prompt(tokenizer(), text, {.long_prompts = true});
    ASSERT_EQ(one.size(), 1u);
    EXPECT_EQ(one[0].ids, tokenizer().encode_padded(text));
  }
  EXPECT_EQ(empty_chunk(tokenizer()).ids, tokenizer().encode_padded(""));
}

TEST(Prompt, exactly_full_windows_do_not_make_an_empty_one) {
  std::string full;
  for (int i = 0; i < 75; ++i) full += "a ";
  EXPECT_EQ(chunk_prompt(tokenizer(), full, {.long_prompts = true}).size(), 1u);
  EXPECT_EQ(chunk_prompt(tokenizer(), full + "a", {.long_prompts = true}).size(), 2u);
  EXPECT_EQ(chunk_prompt(tokenizer(), full + "BREAK a", {.weights = true, .long_prompts = true}).size(), 2u);
}

// Content of each window of a prompt of one token per letter or comma, as a count of its tokens.
std::vector<int> windows_of(const std::string& tokens, bool weights = true) {
  std::string prompt;
  for (const char c : tokens) prompt += c == '/' ? std::string("BREAK ") : std::string{c, ' '};
  std::vector<int> counts;
  for (const PromptChunk& chunk : chunk_prompt(tokenizer(), prompt, {.weights = weights, .long_prompts = true})) {
    counts.push_back(0);
    for (const Piece& piece : chunk.pieces) counts.back() += piece.end > piece.begin ? 1 : 0;
  }
  return counts;
}

// AUTOMATIC1111's rule: a token that is no comma and finds 75 before it in its window, the last comma at most 20 tokens
// back, moves all that follows that comma to the next window.
TEST(Prompt, full_windows_end_at_a_comma_near_their_end) {
  const auto words = [](size_t count) { return std::string(count, 'a'); };
  using Counts = std::vector<int>;
  EXPECT_EQ(windows_of(words(60) + "," + words(30)), (Counts{61, 30}));
  EXPECT_EQ(windows_of(words(55) + "," + words(20)), (Counts{56, 20}));
  EXPECT_EQ(windows_of(words(54) + "," + words(21)), (Counts{75, 1})) << "21 tokens back";
  EXPECT_EQ(windows_of(words(60) + "," + words(5) + "," + words(9)), (Counts{67, 9})) << "the last comma counts";
  EXPECT_EQ(windows_of(words(74) + "," + words(3)), (Counts{75, 3}));
  EXPECT_EQ(windows_of(words(60) + "," + words(14)), (Counts{75})) << "nothing follows";
  EXPECT_EQ(windows_of(words(60) + "," + words(14) + "," + words(9)), (Counts{75, 10})) << "a comma follows";
  EXPECT_EQ(windows_of(words(60) + "," + words(14) + "/" + words(9)), (Counts{75, 9})) << "a break follows";
  EXPECT_EQ(windows_of(words(60) + "," + words(74) + "a" + words(3)), (Counts{61, 75, 3})) << "a comma counts once";
  EXPECT_EQ(windows_of(words(60) + "," + words(60) + "," + words(30)), (Counts{61, 61, 30}));
  EXPECT_EQ(windows_of(words(60) + "," + words(30), false), (Counts{75, 16})) << "only with weights";
}

TEST(Prompt, weights_and_words_find_their_tokens) {
  const std::string prompt = "a (red balloon:1.5) BREAK a cat";
  const auto chunks = chunk_prompt(tokenizer(), prompt, {.weights = true, .long_prompts = true});
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0].weights[1], 1.0f);
  EXPECT_EQ(chunks[0].weights[2], 1.5f);
  const size_t red = prompt.find("red"), cat = prompt.find("cat");
  EXPECT_EQ(positions_of(chunks, red, red + 3).front(), 2);
  EXPECT_EQ(positions_of(chunks, cat, cat + 3), std::vector<int64_t>{77 + 2});
  for (const int64_t at : positions_of(chunks, red, red + 11))
    EXPECT_EQ(chunks[0].weights[static_cast<size_t>(at)], 1.5f);
  EXPECT_EQ(tokenizer().encode("a red balloon").size() + 1,
            std::find(chunks[0].ids.begin(), chunks[0].ids.end(), tokenizer().eos()) - chunks[0].ids.begin());
}

TEST(Prompt, refuses_what_it_cannot_honour) {
  EXPECT_THROW(chunk_prompt(tokenizer(), "a BREAK b", {.weights = true}), Error);
  EXPECT_THROW(chunk_prompt(tokenizer(), "(a:100000000)", {.weights = true}), Error);
  EXPECT_THROW(chunk_prompt(tokenizer(), "\xff", {}), Error);
}

TEST(Prompt, weighted_embedding_keeps_its_mean) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const Tensor x = Tensor::from(values, {1, 3, 2});
  EXPECT_EQ(apply_weights(x, {1, 1, 1}).to_vector(), values);
  const auto y = apply_weights(x, {1, 2, 1}).to_vector();  // 1 2 6 8 5 6 has the mean 28/6; scaled back by 21/28
  const float expected[] = {0.75f, 1.5f, 4.5f, 6.0f, 3.75f, 4.5f};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(y[i], expected[i], 1e-6);
}

}  // namespace
}  // namespace heddle
