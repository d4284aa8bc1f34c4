// The unigram language model over pieces (Kudo 2018, "Subword Regularization"): a word is cut so that the sum of the
// log probabilities of its pieces is the largest. Sums are doubles and ties fall as in the `tokenizers` library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "encoders/added_vocabulary.h"

namespace heddle {

struct UnigramFile {
  std::string where;                                   // for messages
  std::vector<std::pair<std::string, double>> pieces;  // text and log probability, by id
  int64_t unknown = 0;                                 // the id of text that no piece covers
  bool byte_fallback = false;  // such text becomes pieces "<0x41>", one for each byte, where all of them are there
};

class Unigram {
 public:
  Unigram() = default;
  // Error(input) for an empty list, pieces that are not UTF-8, log probabilities that are no numbers, `unknown`
  // outside.
  explicit Unigram(UnigramFile file);

  struct Part {
    int64_t id = 0;
    size_t begin = 0, end = 0;  // bytes of the word
  };
  // Neighbouring characters that no piece covers become one unknown part.
  std::vector<Part> encode(std::string_view word) const;

  Vocabulary vocabulary() const;  // of pieces that stand twice the later id

 private:
  std::string_view text(size_t place) const { return file_.pieces[order_[place]].first; }
  int64_t find(std::string_view text) const;  // -1 where there is none
  template <typename Found>
  void prefixes(std::string_view text, const Found& found) const;
  void append(std::string_view word, size_t begin, size_t end, std::vector<Part>& out) const;

  UnigramFile file_;
  std::vector<uint32_t> order_;  // ids, by text
  double unknown_score_ = 0;
};

}  // namespace heddle
