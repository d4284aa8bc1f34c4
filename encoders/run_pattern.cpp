// Parsing and matching of runs.
#include "encoders/run_pattern.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr size_t no_limit = static_cast<size_t>(-1);
constexpr std::u32string_view meaningful = U"\\^$.|?*+()[]{}";

// The rest of a pattern, taken from the front.
struct Reader {
  std::u32string rest;
  const std::string &pattern, &where;

  [[noreturn]] void refuse() const {
    fail(ErrorCode::input, where, "a pattern of runs of one character, like \" {2,}\"", "'" + pattern + "'");
  }
  bool take(std::u32string_view word) {
    const bool found = rest.starts_with(word);
    if (found) rest.erase(0, word.size());
    return found;
  }
  char32_t next() {
    if (rest.empty()) refuse();
    const char32_t code = rest[0];
    rest.erase(0, 1);
    return code;
  }
  size_t number() {
    size_t value = 0, digits = 0;
    for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9'; ++digits)
      value = std::min<size_t>(value * 10 + (next() - '0'), 1 << 20);
    if (digits == 0) refuse();
    return value;
  }
};

}  // namespace

RunPattern RunPattern::literal(std::string_view text, const std::string& where) {
  if (text.empty()) fail(ErrorCode::input, where, "a text to replace", "an empty one");
  Run run;
  for (const SourceChar& c : decode_utf8(text, where)) run.codes.push_back(c.code);
  RunPattern out;
  out.runs_.push_back(run);
  return out;
}

RunPattern RunPattern::parse(std::string_view text, const std::string& where) {
  const std::string pattern(text);
  Reader reader{{}, pattern, where};
  for (const SourceChar& c : decode_utf8(text, where)) reader.rest.push_back(c.code);
  RunPattern out;
  do {
    Run run;
    run.at_start = reader.take(U"\\A");
    run.white = reader.take(U"\\s");
    if (!run.white) {
      const bool escaped = reader.take(U"\\");
      run.codes = reader.next();
      if (escaped != (meaningful.find(run.codes[0]) != meaningful.npos)) reader.refuse();
    }
    if (reader.take(U"+")) {
      run.most = no_limit;
    } else if (reader.take(U"{")) {
      run.least = run.most = reader.number();
      if (reader.take(U",")) run.most = reader.rest.starts_with(U"}") ? no_limit : reader.number();
      if (!reader.take(U"}") || run.least == 0 || run.most < run.least) reader.refuse();
    }
    run.at_end = reader.take(U"\\z");
    out.runs_.push_back(run);
  } while (reader.take(U"|"));
  if (!reader.rest.empty()) reader.refuse();
  return out;
}

size_t RunPattern::match(const SourceText& text, size_t at) const {
  for (const Run& run : runs_) {
    if (const size_t length = match(run, text, at); length > 0) return length;
  }
  return 0;
}

size_t RunPattern::match(const Run& run, const SourceText& text, size_t at) {
  if (run.at_start && at != 0) return 0;
  size_t length = 0;
  if (run.codes.size() > 1) {
    const auto same = [](char32_t code, const SourceChar& c) { return code == c.code; };
    const bool fits = run.codes.size() <= text.size() - at;
    if (fits && std::equal(run.codes.begin(), run.codes.end(), text.begin() + static_cast<ptrdiff_t>(at), same))
      length = run.codes.size();
  } else {
    const auto is = [&](char32_t code) { return run.white ? is_space(code) : code == run.codes[0]; };
    while (length < run.most && at + length < text.size() && is(text[at + length].code)) ++length;
    if (length < run.least) length = 0;
  }
  return run.at_end && at + length != text.size() ? 0 : length;
}

}  // namespace heddle
