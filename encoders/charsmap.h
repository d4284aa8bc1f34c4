// The normalisation that sentencepiece (Kudo & Richardson 2018) compiles into its models: a double-array trie (Aoe
// 1989) from byte strings to places in a block of replacement texts. Applied as the `tokenizers` library does: by
// grapheme where one is shorter than 6 bytes and has an entry, else by code point; of several entries that are
// prefixes of a text the shortest counts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "encoders/unicode.h"

namespace heddle {

class Charsmap {
 public:
  // `bytes`: the length of the trie in bytes (u32, little-endian), the trie, the texts with a NUL after each.
  // Error(input) naming `where` for lengths that do not fit and texts that are not UTF-8.
  Charsmap(std::string_view bytes, std::string where);

  // Error(input) where the trie leads outside of itself or of the texts.
  SourceText operator()(const SourceText& text) const;

 private:
  std::optional<std::string_view> find(std::string_view key) const;
  bool append(std::string_view key, const SourceChar& from, SourceText& out) const;

  std::vector<uint32_t> units_;
  std::string texts_;
  std::string where_;
};

// Base64 (RFC 4648, with padding) as tokenizer.json holds a charsmap. Error(input) naming `where` for other characters.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace heddle
