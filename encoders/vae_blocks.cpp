// The autoencoder's blocks. Source: diffusers ResnetBlock2D without time, Attention, DownEncoderBlock2D,
// UpDecoderBlock2D.
#include "encoders/vae_blocks.h"

#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

constexpr double eps = 1e-6;

using Resample = VaeBlockOptions::Resample;
using AttentionPlace = VaeBlockOptions::Attention;

Linear projection(const Scope& scope, const char* name, const char* old_name, int64_t channels) {
  const Scope place = scope.has(std::string(old_name) + ".weight") ? scope / old_name : scope / name;
  return Linear::matrix_or_1x1(place, channels, channels);
}

}  // namespace

VaeResnet::VaeResnet(const Scope& scope, int64_t in, const VaeBlockOptions& o)
    : norm1_(scope / "norm1", in, {.groups = o.groups, .eps = eps, .then = o.act}),
      norm2_(scope / "norm2", o.out, {.groups = o.groups, .eps = eps, .then = o.act}),
      conv1_(scope / "conv1", in, o.out, 3, {.padding = Padding::same(1)}),
      conv2_(scope / "conv2", o.out, o.out, 3, {.padding = Padding::same(1)}) {
  if (in != o.out) shortcut_ = Conv2d(scope / "conv_shortcut", in, o.out, 1, {});
}

Tensor VaeResnet::operator()(const Tensor& x) const {
  const Tensor h = norm2_(conv1_(norm1_(x)));
  return conv2_(h, {.residual = shortcut_.defined() ? shortcut_(x) : x});  // [B,H,W,out]
}

VaeAttention::VaeAttention(const Scope& scope, const VaeBlockOptions& o, AttentionSite site)
    : site_(std::move(site)),
      norm_(scope / "group_norm", o.out, {.groups = o.groups, .eps = eps}),
      q_(projection(scope, "to_q", "query", o.out)),
      k_(projection(scope, "to_k", "key", o.out)),
      v_(projection(scope, "to_v", "value", o.out)),
      out_(projection(scope, "to_out.0", "proj_attn", o.out)) {}

Tensor VaeAttention::operator()(const Tensor& x, AttentionContext& context) const {
  const int64_t batch = x.dim(0), positions = x.dim(1) * x.dim(2), channels = x.dim(3);
  const TokenLayout image{{.name = "image", .height = x.dim(1), .width = x.dim(2)}};
  const Shape as_tokens{batch, positions, channels}, as_heads{batch, positions, 1, channels};
  const Tensor tokens = reshape(norm_(x), as_tokens);
  const Tensor seen = attend(site_, {image, image}, reshape(q_(tokens), as_heads), reshape(k_(tokens), as_heads),
                             reshape(v_(tokens), as_heads), context);  // [B,H*W,1,C]
  return reshape(out_(reshape(seen, as_tokens), reshape(x, as_tokens)), x.shape());
}

VaeBlock::VaeBlock(const Scope& scope, const VaeBlockOptions& o, std::vector<AttentionSite>& sites)
    : resample_(o.resample) {
  for (int64_t i = 0; i < o.layers; ++i) resnets_.emplace_back(scope / "resnets" / i, i == 0 ? o.in : o.out, o);
  const int64_t attentions = o.attention == AttentionPlace::none         ? 0
                             : o.attention == AttentionPlace::after_each ? o.layers
                                                                         : o.layers - 1;
  for (int64_t i = 0; i < attentions; ++i) {
    const std::string number = o.attention == AttentionPlace::between ? "" : std::to_string(i);
    sites.push_back({.name = o.site + ".attn" + number,
                     .kind = AttentionKind::self,
                     .depth = static_cast<int>(sites.size()),
                     .heads = 1,
                     .head_dim = o.out});
    attentions_.emplace_back(scope / "attentions" / i, o, sites.back());
  }
  if (o.resample == Resample::halve) {
    conv_ = Conv2d(scope / "downsamplers" / 0 / "conv", o.out, o.out, 3,
                   {.stride = 2, .padding = {.bottom = 1, .right = 1}});
  } else if (o.resample == Resample::twice) {
    conv_ = Conv2d(scope / "upsamplers" / 0 / "conv", o.out, o.out, 3, {.padding = Padding::same(1)});
  }
}

Tensor VaeBlock::operator()(const Tensor& input, AttentionContext& context) const {
  Tensor x = input;
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i](x);
    if (i < attentions_.size()) x = attentions_[i](x, context);
  }
  if (resample_ == Resample::halve) return conv_(x);
  if (resample_ == Resample::twice) return conv_(upsample_nearest(x, 2 * x.dim(1), 2 * x.dim(2)));
  return x;
}

}  // namespace heddle
