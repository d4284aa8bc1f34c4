// AttentionSite: what a denoiser or encoder states, once, about each place where it attends. Plans address sites by
// these facts and nobody infers them from shapes again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/score_term.h"

namespace heddle {

enum class AttentionKind : uint8_t { self, cross, joint, temporal };

// A named run of tokens and the grid it was flattened from, row-major: image[t,h,w], text[n] (t = h = 1).
struct TokenSegment {
  std::string name;  // "image", "text", "ref"
  int64_t frames = 1, height = 1, width = 1;
  int64_t tokens() const { return frames * height * width; }
};

using TokenLayout = std::vector<TokenSegment>;

inline int64_t token_count(const TokenLayout& layout) {
  int64_t total = 0;
  for (const TokenSegment& segment : layout) total += segment.tokens();
  return total;
}

// Places of tokens in a layout: [begin,end).
struct TokenRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
};

// Of the named segment; empty where the layout has none.
inline TokenRange range_of(const TokenLayout& layout, std::string_view name) {
  int64_t begin = 0;
  for (const TokenSegment& segment : layout) {
    if (segment.name == name) return {begin, begin + segment.tokens()};
    begin += segment.tokens();
  }
  return {};
}

// Tokens that a network can leave out, at a site and behind it, where a plan holds what they give there: those of a
// stream of their own. In floating-point operations what the network then saves beside the softmax, up to the next
// site.
struct TokenStream {
  std::string segment;
  int64_t token_flops = 0;  // for each of its tokens: projections, feed forward
  int64_t row_flops = 0;    // for each row of the batch: modulation
};

// Facts known when the network is built. The grids follow from each input and travel beside it, in SiteTokens.
struct AttentionSite {
  std::string name;  // "down.1.block0.depth0.cross", "double.07.joint"
  AttentionKind kind = AttentionKind::self;
  int depth = 0;  // position among the network's sites, in the order of evaluation
  int64_t heads = 1;
  int64_t head_dim = 0;
  double scale = 0;  // of the scores; 0 stands for 1/sqrt(head_dim)
  bool causal = false;
  bool rotary = false;       // queries and keys are turned by rotary positions
  DType dtype = DType::f32;  // of the layer's tokens
  std::vector<TokenStream> streams = {};

  const TokenStream* stream(std::string_view segment) const {
    for (const TokenStream& s : streams) {
      if (s.segment == segment) return &s;
    }
    return nullptr;
  }
};

struct SiteTokens {
  TokenLayout query;
  TokenLayout key;
  // What the network itself adds to the scaled scores of all rows: biases of distances, hidden padding.
  std::vector<ScoreTerm> terms = {};
};

}  // namespace heddle
