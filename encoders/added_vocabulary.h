// A vocabulary with the tokens added to it: finding these in a text before anything else is done to it, and the way
// from ids back to texts.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "encoders/added_tokens.h"

namespace heddle {

using Vocabulary = std::unordered_map<std::string, int64_t>;

// A token of a text.
struct Piece {
  int64_t id = 0;
  size_t begin = 0, end = 0;  // bytes [begin, end) of the text it came from
};

class AddedVocabulary {
 public:
  using Normalize = std::function<SourceText(std::span<const SourceChar>)>;
  struct Options {
    bool split_special = false;  // special tokens in a text are ordinary words
    std::string where;           // the folder, for messages
  };

  AddedVocabulary() = default;
  // Tokens that `ids` lacks get the next free ids, in order. Error(input) where two read the same once normalised.
  AddedVocabulary(Vocabulary ids, const std::vector<AddedToken>& added, Normalize normalize, Options options);

  // The added tokens of a text, and between them what the normalised text is. Error(usage) for text that is not UTF-8.
  std::vector<std::variant<Piece, SourceText>> split(std::string_view text) const;

  int64_t id_of(const std::string& token) const;  // Error(input) where there is none
  const std::string& text_of(int64_t id) const;   // Error(usage) for an id that is none
  bool has(const std::string& token) const { return ids_.contains(token); }

 private:
  Vocabulary ids_;
  std::unordered_map<int64_t, std::string> tokens_;
  AddedTokens raw_, normalized_;
  Normalize normalize_;
  std::string where_;
};

}  // namespace heddle
