// The patterns that normalisers of unigram tokenizers replace: a literal text, or alternatives of runs of one character
// (" {2,}", "\A +| +\z"). Not regular expressions in general: those would let a file decide how long a match takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "encoders/unicode.h"

namespace heddle {

class RunPattern {
 public:
  // Error(input) naming `where` for an empty text.
  static RunPattern literal(std::string_view text, const std::string& where);
  // Alternatives between "|": an optional \A, a character (\ before those with a meaning; \s is white space), an
  // optional + or {n,} or {n} or {n,m} with n > 0, an optional \z. Error(input) naming `where` for anything else.
  static RunPattern parse(std::string_view pattern, const std::string& where);

  // Characters of the match that begins at `at`, 0 where there is none. The first alternative that matches counts.
  size_t match(const SourceText& text, size_t at) const;

 private:
  struct Run {
    std::u32string codes;  // literal text, or the one character that is repeated
    bool white = false;    // any white space in its place
    bool at_start = false, at_end = false;
    size_t least = 1, most = 1;
  };
  static size_t match(const Run& run, const SourceText& text, size_t at);

  std::vector<Run> runs_;
};

}  // namespace heddle
