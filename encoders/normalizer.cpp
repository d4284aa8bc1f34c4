// The steps by name.
#include "encoders/normalizer.h"

#include <algorithm>

#include "encoders/charsmap.h"
#include "encoders/run_pattern.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr size_t longest_content = 256;  // bytes that one match or text may gain

// Text that a file inserts.
SourceText content_of(const Json& json, const char* key) {
  const auto text = json.get<std::string>(key);
  if (text.size() > longest_content)
    fail(ErrorCode::input, json.where() + " " + key, "at most 256 bytes", std::to_string(text.size()));
  return decode_utf8(text, json.where() + " " + key);
}

void append_at(SourceText& out, const SourceText& content, size_t begin, size_t end) {
  for (const SourceChar& c : content) out.push_back({c.code, begin, end});
}

Normalizer::Step replace(const Json& json) {
  const Json pattern = json.get<Json>("pattern");
  const RunPattern runs = pattern.has("String")
                              ? RunPattern::literal(pattern.get<std::string>("String"), pattern.where())
                              : RunPattern::parse(pattern.get<std::string>("Regex"), pattern.where());
  return [runs, content = content_of(json, "content")](const SourceText& text) {
    SourceText out;
    for (size_t at = 0; at < text.size();) {
      const size_t length = runs.match(text, at);
      if (length == 0) {
        out.push_back(text[at++]);
      } else {
        append_at(out, content, text[at].begin, text[at + length - 1].end);
        at += length;
      }
    }
    return out;
  };
}

Normalizer::Step strip(const Json& json) {
  const bool left = json.get_or<bool>("strip_left", false), right = json.get_or<bool>("strip_right", false);
  return [left, right](const SourceText& text) {
    auto begin = text.begin(), end = text.end();
    while (left && begin != end && is_space(begin->code)) ++begin;
    while (right && begin != end && is_space((end - 1)->code)) --end;
    return SourceText(begin, end);
  };
}

// The clean-up of sentencepiece's "nmt" rules: controls go, what stands for white space becomes a space.
SourceText nmt(const SourceText& text) {
  const auto goes = [](char32_t c) {
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
  };
  const auto is_blank = [](char32_t c) {
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
           c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
  };
  SourceText out;
  for (const SourceChar& c : text) {
    if (!goes(c.code)) out.push_back({is_blank(c.code) ? U' ' : c.code, c.begin, c.end});
  }
  return out;
}

Normalizer::Step prepend(const Json& json) {
  return [content = content_of(json, "prepend")](const SourceText& text) {
    SourceText out;
    if (!text.empty()) append_at(out, content, text[0].begin, text[0].begin);
    out.insert(out.end(), text.begin(), text.end());
    return out;
  };
}

Normalizer::Step precompiled(const Json& json) {
  const std::string where = json.where() + " precompiled_charsmap";
  return Charsmap(decode_base64(json.get<std::string>("precompiled_charsmap"), where), where);
}

}  // namespace

void Normalizer::append(const Json& json) {
  const auto type = json.get<std::string>("type");
  if (type == "Sequence") {
    const Json list = json.get<Json>("normalizers");
    for (size_t i = 0; i < list.size(); ++i) append(list[i]);
  } else if (type == "Precompiled") {
    add(precompiled(json));
  } else if (type == "Replace") {
    add(replace(json));
  } else if (type == "Strip") {
    add(strip(json));
  } else if (type == "Prepend") {
    add(prepend(json));
  } else if (type == "Nmt") {
    add(nmt);
  } else if (type == "NFC") {
    add([](const SourceText& text) { return compose(text); });
  } else if (type == "NFKC") {
    add([](const SourceText& text) { return compose(text, Decomposition::compatible); });
  } else if (type == "Lowercase") {
    add(lower_case);
  } else {
    fail(ErrorCode::input, json.where() + " type",
         "Sequence, Precompiled, Replace, Strip, Prepend, Nmt, NFC, NFKC or Lowercase", type);
  }
}

Normalizer Normalizer::from(const Json& json) {
  Normalizer out;
  out.where_ = json.where();
  out.append(json);
  return out;
}

SourceText Normalizer::operator()(std::span<const SourceChar> text) const {
  SourceText out(text.begin(), text.end());
  for (const Step& step : steps_) {
    out = step(std::move(out));
    if (out.size() > 32 * text.size() + 4096) {
      fail(ErrorCode::input, where_, "steps that make a text at most 32 times as long",
           std::to_string(out.size()) + " characters from " + std::to_string(text.size()));
    }
  }
  return out;
}

}  // namespace heddle
