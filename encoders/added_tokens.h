// Tokens that are found in a text before it is split into words: the special ones and those added after training.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "encoders/unicode.h"

namespace heddle {

struct AddedToken {
  std::string content;
  bool single_word = false;  // matches only between characters that are not of words
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = true;    // matches in its normalised form in the normalised text, else as it is in the raw one
  bool special = false;
  int64_t id = 0;

  bool operator==(const AddedToken&) const = default;
};

// A part of a text: characters [begin, end) and the token they are, or -1 for text in between.
struct TextPart {
  size_t begin = 0, end = 0;
  int64_t id = -1;
};

class AddedTokens {
 public:
  // `form` is what the token looks like in the texts that will be split. False where another token has this form.
  bool insert(const AddedToken& token, const SourceText& form);

  // Parts that cover the text; of tokens that begin at one place the longest is taken, the leftmost first.
  std::vector<TextPart> split(const SourceText& text) const;

 private:
  struct Entry {
    AddedToken token;
    std::u32string form;
  };
  const Entry* match(const SourceText& text, size_t at) const;

  std::unordered_map<char32_t, std::vector<Entry>> by_first_;  // the longest first
};

}  // namespace heddle
