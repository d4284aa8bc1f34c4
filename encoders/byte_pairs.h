// Byte-pair encoding of words over the byte alphabet (Sennrich et al. 2016; the alphabet of Radford et al. 2019), with
// the last byte of a word marked "</w>" (Radford et al. 2021, CLIP).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "encoders/added_vocabulary.h"

namespace heddle {

using MergeRules = std::vector<std::pair<std::string, std::string>>;  // the earlier, the sooner

struct WordPart {
  int64_t id = 0;
  size_t bytes = 0;  // of the word that it covers
};

class BytePairs {
 public:
  BytePairs() = default;
  // Error(input) naming `where` for a rule whose parts or whole the vocabulary lacks. `unknown` stands for bytes that
  // the vocabulary lacks.
  BytePairs(const Vocabulary& vocabulary, const MergeRules& rules, const std::string& unknown, std::string where);

  // Always the pair of the earliest rule first, the leftmost of them; the word is not empty. Error(input) where a byte
  // has no id and the vocabulary lacks `unknown`.
  std::vector<WordPart> encode(std::string_view word) const;

 private:
  struct Rule {
    int64_t rank = 0, whole = 0;
  };
  const Rule* rule(int64_t left, int64_t right) const;

  std::array<int64_t, 256> inner_{}, last_{};  // id of a byte inside a word and at its end; -1 where there is none
  int64_t unknown_ = -1;
  std::unordered_map<uint64_t, Rule> rules_;
  std::string where_;
};

// The printable character that stands for a byte in vocabularies.
char32_t byte_symbol(uint8_t byte);

}  // namespace heddle
