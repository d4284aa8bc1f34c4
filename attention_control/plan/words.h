// PromptTokens: where the words of a prompt stand among the keys of its text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

// A token and the bytes of the prompt that it covers.
struct PromptToken {
  int64_t position = 0;  // among the text keys, 0 is the start token
  size_t begin = 0, end = 0;
  int64_t id = 0;  // in the tokenizer's vocabulary
};

// The text keys that one encoder made, or one chunk of CLIP's: [begin,stop). Words stand from `first` on, then the
// (first) end token, then padding. A part without words has its end at its first key.
struct PromptPart {
  int64_t begin = 0, first = 0, end = 0, stop = 0;
};

struct PromptTokens {
  std::string text;
  std::vector<PromptToken> tokens;     // of the words; start, end and padding are not among them
  int64_t end = 0;                     // position of the (first) end token
  int64_t length = 0;                  // text keys in all
  std::vector<PromptPart> parts = {};  // SD3's text has CLIP's keys and T5's; empty: one part of all keys

  // `parts`, or the one that stands for none.
  std::vector<PromptPart> text_parts() const;
  // The same positions, part after part; a part that has none of them gives none.
  std::vector<std::vector<int64_t>> by_part(const std::vector<int64_t>& positions) const;

  // Positions of "cat", "red balloon" or "cat#2" (the second place where the word stands; without a number, all
  // places), whole words, letter case ignored. Error(usage) at `where` naming the near words where there is none.
  std::vector<int64_t> find(std::string_view words, const std::string& where) const;
};

}  // namespace heddle
