// The text side of the tokenizer: added tokens, normalisation, words, byte pairs.
#include "encoders/clip_tokenizer.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr std::u32string_view contractions[] = {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};
constexpr std::u32string_view marks[] = {U"<|startoftext|>", U"<|endoftext|>"};

SourceText normalize(std::span<const SourceChar> text) {
  return lower_case(collapse_spaces(compose(text)));
}

bool begins_with(std::span<const SourceChar> text, std::u32string_view word) {
  const auto same = [](char32_t code, const SourceChar& c) { return code == c.code; };
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(), same);
}

// Length of the run of characters that satisfy `is`.
template <typename Is>
size_t run(std::span<const SourceChar> text, Is is) {
  return static_cast<size_t>(
      std::find_if_not(text.begin(), text.end(), [&](const SourceChar& c) { return is(c.code); }) - text.begin());
}

// Lengths of the next words of a text that does not start with a space. A begin or end mark that was not found as a
// token falls into three words by the second pattern, GPT-2's, which runs over the words of the first.
std::vector<size_t> next_words(std::span<const SourceChar> text) {
  for (const auto& mark : marks) {
    if (begins_with(text, mark)) return {2, mark.size() - 4, 2};  // "<|", "endoftext", "|>"
  }
  for (const auto& contraction : contractions) {
    if (begins_with(text, contraction)) return {contraction.size()};
  }
  if (is_letter(text[0].code)) return {run(text, is_letter)};
  if (is_number(text[0].code)) return {1};
  return {run(text, [](char32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c); })};
}

}  // namespace

ClipTokenizer::ClipTokenizer(ClipTokenizerFiles files)
    : files_(std::move(files)),
      byte_pairs_(files_.vocabulary, files_.merges, files_.unknown, files_.where),
      vocabulary_(files_.vocabulary, files_.added, normalize, {files_.split_special, files_.where}),
      bos_(vocabulary_.id_of(files_.bos)),
      eos_(vocabulary_.id_of(files_.eos)),
      pad_(vocabulary_.id_of(files_.pad)) {}

std::vector<Piece> ClipTokenizer::pieces(std::string_view text) const {
  std::vector<Piece> out;
  for (const auto& part : vocabulary_.split(text)) {
    if (const Piece* token = std::get_if<Piece>(&part)) {
      put_token(*token, out);
    } else {
      split_words(std::get<SourceText>(part), out);
    }
  }
  return out;
}

void ClipTokenizer::put_token(const Piece& piece, std::vector<Piece>& out) const {
  const auto found = learned_.find(piece.id);
  const int64_t count = found == learned_.end() ? 1 : found->second;
  for (int64_t i = 0; i < count; ++i) out.push_back({piece.id + i, piece.begin, piece.end});
}

int64_t ClipTokenizer::learn(const LearnedToken& token) {
  for (int64_t i = 0; i < token.vectors; ++i) {
    const std::string content = i == 0 ? token.word : token.word + "_" + std::to_string(i);
    if (vocabulary_.has(content))
      fail(ErrorCode::input, token.where, "a word that the tokenizer has not", "\"" + content + "\"",
           "token: with another word");
    files_.added.push_back({.content = content});
  }
  vocabulary_ = AddedVocabulary(files_.vocabulary, files_.added, normalize, {files_.split_special, files_.where});
  const int64_t first = vocabulary_.id_of(token.word);
  learned_[first] = token.vectors;
  return first;
}

std::vector<int64_t> ClipTokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  for (const Piece& piece : pieces(text)) ids.push_back(piece.id);
  return ids;
}

void ClipTokenizer::split_words(const SourceText& text, std::vector<Piece>& out) const {
  for (std::span<const SourceChar> rest = text; !rest.empty();) {
    if (is_space(rest[0].code)) {
      rest = rest.subspan(1);
      continue;
    }
    for (const size_t length : next_words(rest)) {
      encode_word(rest.first(length), out);
      rest = rest.subspan(length);
    }
  }
}

void ClipTokenizer::encode_word(std::span<const SourceChar> word, std::vector<Piece>& out) const {
  std::string bytes;
  std::vector<size_t> char_of_byte;
  for (size_t i = 0; i < word.size(); ++i) {
    append_utf8(bytes, word[i].code);
    char_of_byte.resize(bytes.size(), i);
  }
  size_t at = 0;
  for (const WordPart& part : byte_pairs_.encode(bytes)) {
    out.push_back({part.id, word[char_of_byte[at]].begin, word[char_of_byte[at + part.bytes - 1]].end});
    at += part.bytes;
  }
}

std::vector<int64_t> ClipTokenizer::pad(std::vector<int64_t> ids) const {
  const auto room = static_cast<size_t>(files_.model_max_length - 2);
  if (ids.size() > room) {
    files_.truncate_left ? ids.erase(ids.begin(), ids.end() - static_cast<ptrdiff_t>(room))
                         : ids.erase(ids.begin() + static_cast<ptrdiff_t>(room), ids.end());
  }
  ids.insert(ids.begin(), bos_);
  ids.push_back(eos_);
  ids.insert(files_.pad_left ? ids.begin() : ids.end(), static_cast<size_t>(files_.model_max_length) - ids.size(),
             pad_);
  return ids;
}

std::string ClipTokenizer::decode_piece(int64_t id) const {
  std::string token = vocabulary_.text_of(id), out;
  if (id == bos_ || id == eos_) return token;
  const bool ends_word = token.ends_with("</w>");
  if (ends_word) token.resize(token.size() - 4);
  static const auto bytes = [] {
    std::unordered_map<char32_t, char> table;
    for (int b = 0; b < 256; ++b) table[byte_symbol(static_cast<uint8_t>(b))] = static_cast<char>(b);
    return table;
  }();
  for (const SourceChar& c : decode_utf8(token, files_.where)) {
    const auto byte = bytes.find(c.code);
    byte == bytes.end() ? append_utf8(out, c.code) : out.push_back(byte->second);
  }
  return ends_word ? out + ' ' : out;
}

}  // namespace heddle
