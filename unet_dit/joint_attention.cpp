// Projections of each stream, side by side, and one call of attend.
#include "unet_dit/joint_attention.h"

#include "kernels/ops/view.h"
#include "unet_dit/adaln.h"

namespace heddle {

std::string two_digits(int64_t index) {
  return (index < 10 ? "0" : "") + std::to_string(index);
}

Projections::Projections(const Scope& scope, const Names& names, int64_t channels, const AttentionSite& site,
                         bool normed)
    : heads_(site.heads), head_dim_(site.head_dim) {
  qkv_ = Linear::joined({scope / names.q, scope / names.k, scope / names.v}, channels, heads_ * head_dim_, Bias::yes);
  if (!normed) return;
  norm_q_ = (scope / names.norm_q).take_f32("weight", {head_dim_});
  norm_k_ = (scope / names.norm_k).take_f32("weight", {head_dim_});
}

std::vector<Tensor> Projections::operator()(const Tensor& x) const {
  std::vector<Tensor> parts = split(reshape(qkv_(x), {x.dim(0), x.dim(1), 3 * heads_, head_dim_}), 2, 3);
  if (norm_q_.defined()) {
    parts[0] = rms_norm(parts[0], norm_q_, mmdit_eps);
    parts[1] = rms_norm(parts[1], norm_k_, mmdit_eps);
  }
  return parts;
}

Tensor JointAttention::operator()(const Tensor& x1, const Tensor& x2, const SiteTokens& tokens,
                                  AttentionContext& context, const Rotary& rotary) const {
  return attend_layer(site, {}, context, [&](const Tensor&) {
    std::vector<Tensor> qkv = x1.defined() ? first(x1) : second(x2);
    if (x1.defined() && x2.defined()) {
      const std::vector<Tensor> more = second(x2);
      for (size_t i = 0; i < qkv.size(); ++i) qkv[i] = concat({qkv[i], more[i]}, 1);
    }
    const Tensor out = attend(site, tokens, qkv[0], qkv[1], qkv[2], context, rotary);  // [B,N,H,D]
    return reshape(out, {out.dim(0), out.dim(1), site.heads * site.head_dim});
  });
}

}  // namespace heddle
