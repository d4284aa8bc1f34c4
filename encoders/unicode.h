// Unicode text as code points that remember which bytes of the source they came from: decoding, NFC, lower case,
// classes. The classes and cases are those of Unicode 16, as the `tokenizers` library has them; NFC is that of
// Unicode 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/error.h"

namespace heddle {

struct SourceChar {
  char32_t code = 0;
  size_t begin = 0, end = 0;  // bytes [begin, end) of the source text
};

using SourceText = std::vector<SourceChar>;

// Error(usage), or `error`, naming `where` and the byte for text that is not UTF-8 (overlong forms, surrogates and
// values beyond U+10FFFF included).
SourceText decode_utf8(std::string_view text, std::string_view where, ErrorCode error = ErrorCode::usage);
void append_utf8(std::string& out, char32_t code);

// Unicode normalisation form C, or KC, which replaces compatible characters too. What changes in a cluster (a base and
// its marks) spans the bytes of the cluster.
enum class Decomposition : uint8_t { canonical, compatible };
SourceText compose(std::span<const SourceChar> text, Decomposition decomposition = Decomposition::canonical);
// Each run of white space becomes one U+0020.
SourceText collapse_spaces(std::span<const SourceChar> text);
// The default lower case of each code point by itself: no final sigma, no language.
SourceText lower_case(std::span<const SourceChar> text);

bool is_letter(char32_t code);  // \p{L}
bool is_number(char32_t code);  // \p{N}
bool is_space(char32_t code);   // the property White_Space
bool is_word(char32_t code);    // \w: letters, marks, digits, connectors, joiners

}  // namespace heddle
