// UTF-8: is it, and its neighbour Latin-1, which PNG text chunks hold.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace heddle {

// Shortest forms only; no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text);

// Nothing where `text` (UTF-8) has a character beyond U+00FF.
std::optional<std::string> utf8_to_latin1(std::string_view text);
std::string latin1_to_utf8(std::string_view text);

}  // namespace heddle
