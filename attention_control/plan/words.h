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

struct PromptTokens {
  std::string text;
  std::vector<PromptToken> tokens;  // of the words; start, end and padding are not among them
  int64_t end = 0;                  // position of the (first) end token
  int64_t length = 0;               // text keys in all

  // Positions of "cat", "red balloon" or "cat#2" (the second place where the word stands; without a number, all
  // places), whole words, letter case ignored. Error(usage) at `where` naming the near words where there is none.
  std::vector<int64_t> find(std::string_view words, const std::string& where) const;
};

}  // namespace heddle
