// One attention over the tokens of two streams that have weights of their own (MM-DiT; Esser et al. 2024, figure 2b).
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "kernels/layers/layers.h"

namespace heddle {

struct Streams {
  Tensor image, text;  // [B,N,C]
};

// "07": how the names of sites count blocks.
std::string two_digits(int64_t index);

// q, k and v of one stream in one product, q and k normalised over each head's features where the network does so.
class Projections {
 public:
  struct Names {
    const char *q, *k, *v, *norm_q, *norm_k;
  };
  static constexpr Names own{"to_q", "to_k", "to_v", "norm_q", "norm_k"};
  static constexpr Names added{"add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"};

  Projections() = default;
  Projections(const Scope& scope, const Names& names, int64_t channels, const AttentionSite& site, bool normed);
  std::vector<Tensor> operator()(const Tensor& x) const;  // q, k, v [B,N,H,D]

 private:
  Linear qkv_;
  Tensor norm_q_, norm_k_;  // [D], undefined without norms
  int64_t heads_ = 1, head_dim_ = 1;
};

// One attention over the tokens of the first and the second stream, side by side in this order: [B,N1+N2,C], before any
// output projection. A stream of undefined tokens is left out.
struct JointAttention {
  AttentionSite site;
  Projections first, second;
  Tensor operator()(const Tensor& x1, const Tensor& x2, const SiteTokens& tokens, AttentionContext& context,
                    const Rotary& rotary = {}) const;
};

}  // namespace heddle
