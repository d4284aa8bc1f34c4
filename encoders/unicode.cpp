// Unicode text over utf8proc (whose tables are those of Unicode 15.0), with what later versions added.
#include "encoders/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {

namespace {

struct Range {
  char32_t first, last;
};

// Assigned after Unicode 15.0, up to 16.0.
constexpr Range new_letters[] = {{0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
                                 {0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389},
                                 {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7},
                                 {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa},
                                 {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
                                 {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d}};
constexpr Range new_numbers[] = {{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
                                 {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa}};
// Upper-case ranges of later versions and the distance to their lower case.
struct CaseRange {
  char32_t first, last;
  int distance;
};
constexpr CaseRange new_cases[] = {{0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
                                   {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
                                   {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
                                   {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
                                   {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b}};

template <typename Ranges>
bool contains(const Ranges& ranges, char32_t code) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [code](const Range& r) { return r.first <= code && code <= r.last; });
}

int category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}
// Marks and a composed vowel that came after Unicode 9, whose tables the `tokenizers` library normalises with: to it
// they are characters that neither move nor compose.
constexpr Range unknown_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}};

// Characters of later versions that a compatible one stands for.
constexpr Range unknown_compatible[] = {{0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xab69, 0xab69},
                                        {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
                                        {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};

int combining_class(char32_t code) {
  if (code < 0x300 || contains(unknown_marks, code)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class;
}

using Codes = std::vector<utf8proc_int32_t>;

Codes decompose(std::span<const SourceChar> text, Decomposition decomposition) {
  constexpr utf8proc_ssize_t most = 18;  // U+FDFA, the longest of the compatible ones
  Codes codes;
  for (const SourceChar& c : text) {
    utf8proc_int32_t parts[most] = {static_cast<utf8proc_int32_t>(c.code)};
    int boundary = 0;
    const bool compatible = decomposition == Decomposition::compatible && !contains(unknown_compatible, c.code);
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
    utf8proc_ssize_t count = 1;
    if (!contains(unknown_marks, c.code)) count = utf8proc_decompose_char(parts[0], parts, most, options, &boundary);
    codes.insert(codes.end(), parts, parts + std::clamp<utf8proc_ssize_t>(count, 0, most));
  }
  return codes;
}

// The decomposition, marks in canonical order, then composed. utf8proc sorts marks by insertion, which is
// quadratic in a run of marks; a stable sort gives the same order.
std::u32string normal_form(std::span<const SourceChar> text, Decomposition decomposition) {
  Codes codes = decompose(text, decomposition);
  const auto starts = [](utf8proc_int32_t c) { return combining_class(static_cast<char32_t>(c)) == 0; };
  for (auto at = codes.begin(); at != codes.end();) {
    const auto marks = std::find_if_not(at, codes.end(), starts);
    at = std::find_if(marks, codes.end(), starts);
    std::stable_sort(marks, at, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(static_cast<char32_t>(a)) < combining_class(static_cast<char32_t>(b));
    });
  }
  std::u32string out;
  const auto unknown = [](utf8proc_int32_t c) { return contains(unknown_marks, static_cast<char32_t>(c)); };
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  for (auto at = codes.begin(); at != codes.end();) {
    const auto end = std::find_if(at + 1, codes.end(), unknown);
    Codes part(at, end);
    const auto length = utf8proc_normalize_utf32(part.data(), static_cast<utf8proc_ssize_t>(part.size()), options);
    out.append(part.begin(), part.begin() + std::max<utf8proc_ssize_t>(length, 0));
    at = end;
  }
  return out;
}

// Whether normalisation never joins `next` to what stands before it. Below U+0300 all characters are such starters.
bool begins_anew(std::span<const SourceChar> before, const SourceChar& next, Decomposition decomposition) {
  if (next.code < 0x300) return true;
  const std::u32string alone = normal_form(std::span(&next, 1), decomposition);
  if (alone.empty() || combining_class(alone.front()) != 0) return false;
  std::vector<SourceChar> joined(before.begin(), before.end());
  joined.push_back(next);
  return normal_form(joined, decomposition) == normal_form(before, decomposition) + alone;
}

}  // namespace

SourceText decode_utf8(std::string_view text, std::string_view where, ErrorCode error) {
  SourceText out;
  out.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    if (length <= 0) {
      fail(error, where, "text in UTF-8", "an invalid byte at position " + std::to_string(at),
           "saving the text as UTF-8");
    }
    out.push_back({static_cast<char32_t>(code), at, at + static_cast<size_t>(length)});
    at += static_cast<size_t>(length);
  }
  return out;
}

void append_utf8(std::string& out, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

SourceText compose(std::span<const SourceChar> text, Decomposition decomposition) {
  SourceText out;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && !begins_anew(text.subspan(begin, end - begin), text[end], decomposition)) ++end;
    const auto segment = text.subspan(begin, end - begin);
    const std::u32string composed = normal_form(segment, decomposition);
    const auto same = [](char32_t code, const SourceChar& c) { return code == c.code; };
    if (std::equal(composed.begin(), composed.end(), segment.begin(), segment.end(), same)) {
      out.insert(out.end(), segment.begin(), segment.end());
    } else {
      for (const char32_t code : composed) out.push_back({code, segment.front().begin, segment.back().end});
    }
    begin = end;
  }
  return out;
}

SourceText collapse_spaces(std::span<const SourceChar> text) {
  SourceText out;
  bool in_spaces = false;
  for (const SourceChar& c : text) {
    const bool space = is_space(c.code);
    if (space && in_spaces) {
      out.back().end = c.end;
    } else {
      out.push_back({space ? U' ' : c.code, c.begin, c.end});
    }
    in_spaces = space;
  }
  return out;
}

SourceText lower_case(std::span<const SourceChar> text) {
  SourceText out;
  out.reserve(text.size());
  for (const SourceChar& c : text) {
    if (c.code == 0x130) {  // the only code point whose lower case is two: i, dot above
      out.push_back({U'i', c.begin, c.end});
      out.push_back({0x307, c.begin, c.end});
      continue;
    }
    auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code)));
    for (const CaseRange& range : new_cases) {
      if (range.first <= c.code && c.code <= range.last) lower = c.code + static_cast<char32_t>(range.distance);
    }
    out.push_back({lower, c.begin, c.end});
  }
  return out;
}

bool is_letter(char32_t code) {
  const int c = category(code);
  return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || (c == 0 && contains(new_letters, code));
}

bool is_number(char32_t code) {
  const int c = category(code);
  return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) || (c == 0 && contains(new_numbers, code));
}

bool is_space(char32_t code) {
  return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xa0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
         code == 0x3000;
}

bool is_word(char32_t code) {
  constexpr Range circled[] = {{0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
  const int c = category(code);
  const bool mark = c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
  return is_letter(code) || mark || c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL ||
         c == UTF8PROC_CATEGORY_PC || code == 0x200c || code == 0x200d || contains(circled, code);
}

}  // namespace heddle
