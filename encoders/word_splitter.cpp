// Splitting at white space and at the mark that stands for it.
#include "encoders/word_splitter.h"

#include <algorithm>
#include <iterator>

#include "kernels/core/error.h"

namespace heddle {

namespace {

using Words = std::vector<SourceText>;

Words split_at_spaces(const SourceText& text) {
  Words out;
  bool inside = false;
  for (const SourceChar& c : text) {
    const bool space = is_space(c.code);
    if (!space && !inside) out.emplace_back();
    if (!space) out.back().push_back(c);
    inside = !space;
  }
  return out;
}

Words apply(const Metaspace& m, SourceText text) {
  if (text.empty()) return {};
  for (SourceChar& c : text) {
    if (c.code == U' ') c.code = m.mark;
  }
  const SourceChar front = text.front();
  const bool wanted = m.prefix == Prefix::always || (m.prefix == Prefix::first && front.begin == 0);
  if (wanted && front.code != m.mark) text.insert(text.begin(), {m.mark, front.begin, front.begin});
  if (!m.split) return {text};
  Words out;
  for (const SourceChar& c : text) {
    if (out.empty() || c.code == m.mark) out.emplace_back();
    out.back().push_back(c);
  }
  return out;
}

Metaspace metaspace(const Json& json) {
  Metaspace m;
  const SourceText mark = decode_utf8(json.get_or<std::string>("replacement", "\u2581"), json.where());
  if (mark.size() != 1)
    fail(ErrorCode::input, json.where() + " replacement", "one character", std::to_string(mark.size()));
  m.mark = mark[0].code;
  const bool prefixed = json.get_or<bool>("add_prefix_space", true);  // the older way to say it
  const auto scheme = json.get_or<std::string>("prepend_scheme", prefixed ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    fail(ErrorCode::input, json.where() + " prepend_scheme", "always, first or never", scheme);
  m.prefix = scheme == "always" ? Prefix::always : scheme == "first" ? Prefix::first : Prefix::never;
  m.split = json.get_or<bool>("split", true);
  return m;
}

}  // namespace

WordSplitter WordSplitter::of_t5() {
  WordSplitter out;
  out.steps_ = {{.white_space = true}, {.metaspace = {}}};
  return out;
}

void WordSplitter::append(const Json& json) {
  const auto type = json.get<std::string>("type");
  if (type == "Sequence") {
    const Json list = json.get<Json>("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) append(list[i]);
  } else if (type == "WhitespaceSplit") {
    steps_.push_back({.white_space = true});
  } else if (type == "Metaspace") {
    steps_.push_back({.metaspace = metaspace(json)});
  } else {
    fail(ErrorCode::input, json.where() + " type", "Sequence, WhitespaceSplit or Metaspace", type);
  }
}

WordSplitter WordSplitter::from(const Json& json) {
  WordSplitter out;
  out.append(json);
  return out;
}

std::vector<SourceText> WordSplitter::operator()(const SourceText& text) const {
  Words words;
  if (!text.empty()) words.push_back(text);
  for (const Step& step : steps_) {
    Words next;
    for (SourceText& word : words) {
      Words parts = step.white_space ? split_at_spaces(word) : apply(step.metaspace, std::move(word));
      std::move(parts.begin(), parts.end(), std::back_inserter(next));
    }
    words = std::move(next);
  }
  return words;
}

}  // namespace heddle
