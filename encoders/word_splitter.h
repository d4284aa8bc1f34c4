// Words of a normalised text as the "pre_tokenizer" of a tokenizer.json states them, for the kinds that unigram
// tokenizers use: WhitespaceSplit and Metaspace of the `tokenizers` library, one after another.
#pragma once

#include <vector>

#include "encoders/unicode.h"
#include "io/json.h"

namespace heddle {

enum class Prefix : uint8_t { always, first, never };

// White space as a character of the words: each space becomes `mark`, words that do not begin with it get one before
// them, and (with `split`) each mark begins a new word.
struct Metaspace {
  char32_t mark = U'\u2581';
  Prefix prefix = Prefix::always;  // first: only a word that came from the beginning of the text
  bool split = true;
};

class WordSplitter {
 public:
  // As T5Tokenizer of transformers 5 has it: white space splits, then Metaspace.
  static WordSplitter of_t5();
  // Error(input) for other kinds than Sequence, WhitespaceSplit and Metaspace.
  static WordSplitter from(const Json& json);

  // Not empty ones.
  std::vector<SourceText> operator()(const SourceText& text) const;

 private:
  void append(const Json& json);

  struct Step {
    bool white_space = false;  // split at white space, which goes
    Metaspace metaspace;       // otherwise this
  };
  std::vector<Step> steps_;
};

}  // namespace heddle
