// The normalisation of a text as the "normalizer" of a tokenizer.json states it, for the kinds that files of T5 and
// other unigram tokenizers hold. Each step behaves as the one of that name in the `tokenizers` library.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "encoders/unicode.h"
#include "io/json.h"

namespace heddle {

class Normalizer {
 public:
  using Step = std::function<SourceText(SourceText)>;

  // Sequence, Precompiled, Strip, Replace, Prepend, Nmt, NFC, NFKC or Lowercase. Error(input) for other kinds, and for
  // patterns that are not runs of one character.
  static Normalizer from(const Json& json);

  void add(Step step) { steps_.push_back(std::move(step)); }
  // Error(input) where the steps make a text more than 32 times as long.
  SourceText operator()(std::span<const SourceChar> text) const;

 private:
  void append(const Json& json);

  std::vector<Step> steps_;
  std::string where_ = "normalizer";
};

}  // namespace heddle
