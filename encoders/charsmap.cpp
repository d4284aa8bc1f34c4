// Reading the trie with every step checked: the file may be anything.
#include "encoders/charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr size_t longest_grapheme = 5;       // bytes that are looked up whole
constexpr size_t longest_replacement = 256;  // published maps have up to 33 bytes

// One unit of the trie.
struct Unit {
  uint32_t bits = 0;
  bool has_leaf() const { return (bits >> 8 & 1) == 1; }
  uint32_t value() const { return bits & 0x7fffffff; }
  uint32_t label() const { return bits & 0x800000ff; }
  uint32_t offset() const { return bits >> 10 << ((bits & 1 << 9) >> 6); }
};

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Where the grapheme that begins at `begin` ends.
size_t grapheme_end(const SourceText& text, size_t begin) {
  utf8proc_int32_t state = 0;
  size_t end = begin + 1;
  const auto code = [&](size_t i) { return static_cast<utf8proc_int32_t>(text[i].code); };
  while (end < text.size() && !utf8proc_grapheme_break_stateful(code(end - 1), code(end), &state)) ++end;
  return end;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, std::string where) : where_(std::move(where)) {
  const size_t room = bytes.size() < 4 ? 0 : bytes.size() - 4;
  const size_t length = bytes.size() < 4 ? 0 : little_endian(bytes, 0);
  if (length < 4 || length % 4 != 0 || length > room) {
    fail(ErrorCode::input, where_, "a character map whose trie lies inside it",
         std::to_string(length) + " bytes of trie in " + std::to_string(room), "a file that was copied whole");
  }
  units_.resize(length / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = little_endian(bytes, 4 + 4 * i);
  texts_ = bytes.substr(4 + length);
  for (size_t begin = 0; begin < texts_.size();) {
    const size_t end = std::min(texts_.find('\0', begin), texts_.size());
    decode_utf8(std::string_view(texts_).substr(begin, end - begin), where_, ErrorCode::input);
    begin = end + 1;
  }
}

std::optional<std::string_view> Charsmap::find(std::string_view key) const {
  const auto unit = [&](size_t at) {
    if (at >= units_.size()) fail(ErrorCode::input, where_, "a character map whose trie is closed", "a step outside");
    return Unit{units_[at]};
  };
  size_t at = unit(0).offset();
  for (const char c : key) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) return std::nullopt;
    at ^= byte;
    const Unit here = unit(at);
    if (here.label() != byte) return std::nullopt;
    at ^= here.offset();
    if (!here.has_leaf()) continue;
    const size_t begin = unit(at).value();
    const size_t end = begin < texts_.size() ? std::min(texts_.find('\0', begin), texts_.size()) : begin;
    if (begin > texts_.size() || end - begin > longest_replacement) {
      fail(ErrorCode::input, where_, "a character map with replacements of at most 256 bytes", "others");
    }
    return std::string_view(texts_).substr(begin, end - begin);
  }
  return std::nullopt;
}

bool Charsmap::append(std::string_view key, const SourceChar& from, SourceText& out) const {
  const auto found = find(key);
  if (!found) return false;
  for (const SourceChar& c : decode_utf8(*found, where_, ErrorCode::input))
    out.push_back({c.code, from.begin, from.end});
  return true;
}

SourceText Charsmap::operator()(const SourceText& text) const {
  SourceText out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = grapheme_end(text, begin);
    std::string key;
    for (size_t i = begin; i < end && key.size() <= longest_grapheme; ++i) append_utf8(key, text[i].code);
    const SourceChar whole{0, text[begin].begin, text[end - 1].end};
    if (key.size() > longest_grapheme || !append(key, whole, out)) {
      for (size_t i = begin; i < end; ++i) {
        std::string one;
        append_utf8(one, text[i].code);
        if (!append(one, text[i], out)) out.push_back(text[i]);
      }
    }
    begin = end;
  }
  if (!out.empty()) out.front().begin = text.front().begin;  // what goes before it counts to the first character
  return out;
}

std::string decode_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0, count = 0;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const size_t value = alphabet.find(c);
    if (value == alphabet.npos || text.size() % 4 != 0) fail(ErrorCode::input, where, "base64", "other text");
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return out;
}

}  // namespace heddle
