// The text side of T5's tokenizer.
#include "encoders/t5_tokenizer.h"

#include "kernels/core/error.h"

namespace heddle {

namespace {

// Pieces of one word, with the bytes of the text that its characters came from.
void append_word(const Unigram& model, const SourceText& word, std::vector<Piece>& out) {
  std::string bytes;
  std::vector<size_t> char_of_byte;
  for (size_t i = 0; i < word.size(); ++i) {
    append_utf8(bytes, word[i].code);
    char_of_byte.resize(bytes.size(), i);
  }
  for (const Unigram::Part& part : model.encode(bytes))
    out.push_back({part.id, word[char_of_byte[part.begin]].begin, word[char_of_byte[part.end - 1]].end});
}

}  // namespace

T5Tokenizer::T5Tokenizer(T5TokenizerFiles files)
    : files_(std::move(files)),
      model_(files_.model),
      vocabulary_(model_.vocabulary(), files_.added, files_.normalizer, {files_.split_special, files_.where}),
      eos_(vocabulary_.id_of(files_.eos)),
      pad_(vocabulary_.id_of(files_.pad)),
      after_{eos_} {
  if (files_.around) std::tie(before_, after_) = *files_.around;
}

std::vector<Piece> T5Tokenizer::pieces(std::string_view text) const {
  std::vector<Piece> out;
  for (const auto& part : vocabulary_.split(text)) {
    if (const Piece* token = std::get_if<Piece>(&part)) {
      out.push_back(*token);
    } else {
      for (const SourceText& word : files_.words(std::get<SourceText>(part))) append_word(model_, word, out);
    }
  }
  return out;
}

std::vector<int64_t> T5Tokenizer::ids_of(std::string_view text) const {
  std::vector<int64_t> ids;
  for (const Piece& piece : pieces(text)) ids.push_back(piece.id);
  return ids;
}

std::vector<int64_t> T5Tokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids = ids_of(text);
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

PaddedText T5Tokenizer::encode_padded(std::string_view text, int64_t length) const {
  const auto around = static_cast<int64_t>(before_.size() + after_.size());
  if (length < around || length < 1 || length > int64_t{1} << 20) {
    fail(ErrorCode::usage, "length of a text", std::to_string(std::max<int64_t>(around, 1)) + " to 2^20 tokens",
         std::to_string(length));
  }
  std::vector<int64_t> ids = ids_of(text);
  const int64_t surplus = static_cast<int64_t>(ids.size()) + around - length;
  if (surplus > 0)
    files_.truncate_left ? ids.erase(ids.begin(), ids.begin() + surplus) : ids.erase(ids.end() - surplus, ids.end());
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
  PaddedText out{.ids = ids, .mask = std::vector<int64_t>(ids.size(), 1)};
  const size_t padding = static_cast<size_t>(length) - ids.size();
  out.ids.insert(files_.pad_left ? out.ids.begin() : out.ids.end(), padding, pad_);
  out.mask.insert(files_.pad_left ? out.mask.begin() : out.mask.end(), padding, 0);
  return out;
}

std::string T5Tokenizer::decode_piece(int64_t id) const {
  std::string out;
  for (const SourceChar& c : decode_utf8(vocabulary_.text_of(id), files_.where))
    append_utf8(out, c.code == U'\u2581' ? U' ' : c.code);
  return out;
}

}  // namespace heddle
