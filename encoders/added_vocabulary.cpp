// Added tokens get their ids, and texts are split at them: first the raw text, then what normalisation makes of the
// parts between, as the `tokenizers` library does.
#include "encoders/added_vocabulary.h"

#include "kernels/core/error.h"

namespace heddle {

namespace {

SourceText part_of(const SourceText& text, const TextPart& part) {
  return {text.begin() + static_cast<ptrdiff_t>(part.begin), text.begin() + static_cast<ptrdiff_t>(part.end)};
}

Piece piece_of(const SourceText& text, const TextPart& part) {
  return {part.id, text[part.begin].begin, text[part.end - 1].end};
}

}  // namespace

AddedVocabulary::AddedVocabulary(Vocabulary ids, const std::vector<AddedToken>& added, Normalize normalize,
                                 Options options)
    : ids_(std::move(ids)), normalize_(std::move(normalize)), where_(std::move(options.where)) {
  auto next = static_cast<int64_t>(ids_.size());
  std::unordered_map<int64_t, AddedToken> by_id;
  for (AddedToken token : added) {
    if (token.content.empty()) continue;
    const auto [found, fresh] = ids_.emplace(token.content, next);
    if (fresh) ++next;
    token.id = found->second;
    by_id[token.id] = token;  // of two tokens with one content the later holds
  }
  for (const auto& [id, token] : by_id) {
    if (options.split_special && token.special) continue;
    const SourceText raw = decode_utf8(token.content, where_, ErrorCode::input);
    if (!(token.normalized ? normalized_.insert(token, normalize_(raw)) : raw_.insert(token, raw))) {
      fail(ErrorCode::input, where_, "added tokens that read differently once normalised",
           "a second '" + token.content + "'");
    }
  }
  for (const auto& [token, id] : ids_) tokens_.emplace(id, token);
}

std::vector<std::variant<Piece, SourceText>> AddedVocabulary::split(std::string_view text) const {
  std::vector<std::variant<Piece, SourceText>> out;
  const SourceText source = decode_utf8(text, "prompt");
  for (const TextPart& part : raw_.split(source)) {
    if (part.id >= 0) {
      out.emplace_back(piece_of(source, part));
      continue;
    }
    const SourceText normal = normalize_(part_of(source, part));
    for (const TextPart& inner : normalized_.split(normal)) {
      if (inner.id >= 0) {
        out.emplace_back(piece_of(normal, inner));
      } else {
        out.emplace_back(part_of(normal, inner));
      }
    }
  }
  return out;
}

int64_t AddedVocabulary::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) fail(ErrorCode::input, where_, "the token '" + token + "' in the vocabulary", "none");
  return found->second;
}

const std::string& AddedVocabulary::text_of(int64_t id) const {
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) fail(ErrorCode::usage, where_, "the id of a token", std::to_string(id));
  return found->second;
}

}  // namespace heddle
