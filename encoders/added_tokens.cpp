// Leftmost-longest search for added tokens, with the strip and single-word rules of the `tokenizers` library.
#include "encoders/added_tokens.h"

#include <algorithm>

namespace heddle {

bool AddedTokens::insert(const AddedToken& token, const SourceText& form) {
  std::u32string codes;
  for (const SourceChar& c : form) codes.push_back(c.code);
  if (codes.empty()) return true;  // never found
  std::vector<Entry>& entries = by_first_[codes.front()];
  const auto longer = [&](const Entry& entry) { return entry.form.size() >= codes.size(); };
  const auto place = std::find_if_not(entries.begin(), entries.end(), longer);
  const bool twice = std::any_of(entries.begin(), place, [&](const Entry& entry) { return entry.form == codes; });
  if (!twice) entries.insert(place, {token, codes});
  return !twice;
}

const AddedTokens::Entry* AddedTokens::match(const SourceText& text, size_t at) const {
  const auto entries = by_first_.find(text[at].code);
  if (entries == by_first_.end()) return nullptr;
  for (const Entry& entry : entries->second) {
    if (entry.form.size() > text.size() - at) continue;
    const auto same = [](char32_t code, const SourceChar& c) { return code == c.code; };
    if (std::equal(entry.form.begin(), entry.form.end(), text.begin() + static_cast<ptrdiff_t>(at), same))
      return &entry;
  }
  return nullptr;
}

std::vector<TextPart> AddedTokens::split(const SourceText& text) const {
  std::vector<TextPart> parts;
  size_t covered = 0;
  for (size_t at = 0; at < text.size();) {
    const Entry* entry = match(text, at);
    if (!entry) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + entry->form.size();
    at = end;
    const bool word_before = begin > 0 && is_word(text[begin - 1].code);
    const bool word_after = end < text.size() && is_word(text[end].code);
    if (entry->token.single_word && (word_before || word_after)) continue;
    while (entry->token.lstrip && begin > covered && is_space(text[begin - 1].code)) --begin;
    while (entry->token.rstrip && end < text.size() && is_space(text[end].code)) ++end;
    begin = std::max(begin, covered);
    if (end <= begin) continue;
    if (covered < begin) parts.push_back({covered, begin, -1});
    parts.push_back({begin, end, entry->token.id});
    covered = end;
    at = std::max(at, end);
  }
  if (covered < text.size()) parts.push_back({covered, text.size(), -1});
  return parts;
}

}  // namespace heddle
