// A small made-up transformer with joint attention, for the tests of plans: SD3's shape (image, then text of two
// encoders; an attention of the image alone beside) or FLUX's (text, then image; rotary positions).
#pragma once

#include "kernels/ops/rotary.h"
#include "tests/attention_control/small_run.h"

namespace heddle::testing {

enum class Joint : uint8_t { sd3, flux };

// A word at a time: CLIP's start token, words, end and padding, then T5's words, end and padding.
inline PromptTokens joint_prompt(const std::string& text, Joint like) {
  const PromptTokens words = prompt_tokens(text, 0);
  const auto count = static_cast<int64_t>(words.tokens.size());
  PromptTokens out{.text = text, .tokens = {}, .end = 0, .length = 0};
  const auto put = [&](int64_t start_tokens, int64_t length) {
    const int64_t begin = out.length, first = begin + start_tokens;
    for (PromptToken token : words.tokens) {
      token.position += first - 1;
      out.tokens.push_back(token);
    }
    out.parts.push_back({.begin = begin, .first = first, .end = first + count, .stop = begin + length});
    out.length += length;
  };
  if (like == Joint::sd3) put(1, 11);
  put(0, 10);
  out.end = out.parts.front().end;
  return out;
}

inline RunShape joint_run(Joint like, const std::vector<std::string>& prompts = {"a red cat and a blue dog",
                                                                                 "a green cat and a small dog"}) {
  RunShape run = small_run();
  run.sites.clear();
  run.tokens.clear();
  for (size_t m = 0; m < 2; ++m) run.members[m].words = joint_prompt(prompts[m], like);
  const TokenSegment image{.name = "image", .frames = 1, .height = 5, .width = 7};
  const TokenSegment text{.name = "text", .frames = 1, .height = 1, .width = run.members[0].words.length};
  const auto site = [&](const std::string& name, AttentionKind kind, const TokenLayout& both) {
    const int depth = static_cast<int>(run.sites.size());
    AttentionSite at{.name = name, .kind = kind, .depth = depth, .heads = 2, .head_dim = 8, .scale = 0};
    if (kind == AttentionKind::joint) at.streams = {{.segment = "text", .token_flops = 6000, .row_flops = 3000}};
    run.sites.push_back(at);
    run.tokens.push_back({both, both});
  };
  if (like == Joint::sd3) {
    for (int block = 0; block < 3; ++block) {
      site("block.0" + std::to_string(block) + ".joint", AttentionKind::joint, {image, text});
      if (block == 1) site("block.01.self", AttentionKind::self, {image});
    }
  } else {
    for (const char* name : {"double.00.joint", "single.00.joint", "single.01.joint"})
      site(name, AttentionKind::joint, {text, image});
  }
  return run;
}

// Tables for the tokens of a site of FLUX's shape; none for others.
inline Rotary rotary_of(const SiteTokens& tokens, int64_t head_dim) {
  if (tokens.key.front().name != "text" || tokens.key.size() != 2 || tokens.query.size() != 2) return {};
  std::vector<double> angles;
  for (const TokenSegment& segment : tokens.key) {
    for (int64_t i = 0; i < segment.tokens(); ++i) {
      const double row = segment.name == "text" ? 0 : static_cast<double>(i / segment.width);
      const double column = segment.name == "text" ? 0 : static_cast<double>(i % segment.width);
      for (int64_t f = 0; f < head_dim / 2; ++f) angles.push_back((f % 2 == 0 ? row : column) * (0.9 - 0.2 * f));
    }
  }
  return rotary_tables(angles, token_count(tokens.key));
}

}  // namespace heddle::testing
