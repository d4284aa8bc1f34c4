// UTF-8 by utf8proc.
#include "io/utf8.h"

#include <utf8proc.h>

namespace heddle {
namespace {

// Calls f(code point) for each character; false where the bytes are no UTF-8, or where f says so.
template <typename F>
bool each_character(std::string_view text, F f) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    if (length <= 0 || !f(code)) return false;
    at += static_cast<size_t>(length);
  }
  return true;
}

}  // namespace

bool is_utf8(std::string_view text) {
  return each_character(text, [](int32_t) { return true; });
}

std::optional<std::string> utf8_to_latin1(std::string_view text) {
  std::string out;
  const bool fits = each_character(text, [&](int32_t code) {
    out += static_cast<char>(code);
    return code <= 0xff;
  });
  return fits ? std::optional(out) : std::nullopt;
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xc0 | (byte >> 6));
      out += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return out;
}

}  // namespace heddle
