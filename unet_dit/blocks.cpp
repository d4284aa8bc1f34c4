// The UNet's blocks. Source: diffusers ResnetBlock2D, Transformer2DModel, BasicTransformerBlock, Attention.
#include "unet_dit/blocks.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {

AttentionSite SiteList::add(AttentionSite site) {
  site.depth = static_cast<int>(sites_.size());
  sites_.push_back(std::move(site));
  return sites_.back();
}

ResnetBlock::ResnetBlock(const Scope& scope, const ResnetOptions& o)
    : options_(o),
      norm1_(scope / "norm1", o.in, {.groups = o.groups, .eps = o.eps, .then = o.act}),
      norm2_(scope / "norm2", o.out,
             {.groups = o.groups, .eps = o.eps, .then = o.scale_shift ? Activation::none : o.act}),
      conv1_(scope / "conv1", o.in, o.out, 3, {.padding = Padding::same(1)}),
      conv2_(scope / "conv2", o.out, o.out, 3, {.padding = Padding::same(1)}) {
  if (o.time_dim > 0) time_ = Linear(scope / "time_emb_proj", o.time_dim, o.scale_shift ? 2 * o.out : o.out);
  if (o.in != o.out) shortcut_ = Conv2d(scope / "conv_shortcut", o.in, o.out, 1, {});
}

Tensor ResnetBlock::operator()(const Tensor& x, const BlockInput& input) const {
  const Tensor time = time_.defined() ? time_(input.time) : Tensor();  // [B,out] or [B,2*out]
  Tensor h = conv1_(norm1_(x, input.norm_partners), {.row_bias = options_.scale_shift ? Tensor() : time});
  h = norm2_(h, input.norm_partners);
  if (options_.scale_shift) {
    const std::vector<Tensor> parts = split(reshape(time, {time.dim(0), 1, 1, time.dim(1)}), 3, 2);
    h = activate(add(multiply(h, add_constant(parts[0], 1)), parts[1]), options_.act);
  }
  h = conv2_(h, {.residual = shortcut_.defined() ? shortcut_(x) : x});  // [B,H,W,out]
  return options_.output_scale == 1 ? h : scale(h, 1 / options_.output_scale);
}

AttentionLayer::AttentionLayer(const Scope& scope, AttentionSite site, const Options& o)
    : site_(std::move(site)), self_(o.key_dim == 0), upcast_(o.upcast) {
  const int64_t inner = site_.heads * site_.head_dim;
  if (self_) {
    qkv_ = Linear::joined({scope / "to_q", scope / "to_k", scope / "to_v"}, o.channels, inner, Bias::none);
  } else {
    q_ = Linear(scope / "to_q", o.channels, inner, Bias::none);
    kv_ = Linear::joined({scope / "to_k", scope / "to_v"}, o.key_dim, inner, Bias::none);
  }
  out_ = Linear(scope / "to_out" / 0, inner, o.channels);
}

Tensor AttentionLayer::operator()(const Tensor& x, const Tensor& keys, const SiteTokens& tokens, const Tensor& residual,
                                  AttentionContext& context) const {
  return attend_layer(site_, residual, context,
                      [&](const Tensor& added) { return compute(x, keys, tokens, added, context); });
}

Tensor AttentionLayer::compute(const Tensor& x, const Tensor& keys, const SiteTokens& tokens, const Tensor& residual,
                               AttentionContext& context) const {
  const int64_t heads = site_.heads, dim = site_.head_dim;
  std::vector<Tensor> parts;  // q, k, v [B,N,H,D]
  if (self_) {
    parts = split(reshape(qkv_(x), {x.dim(0), x.dim(1), 3 * heads, dim}), 2, 3);
  } else {
    const std::vector<Tensor> kv = split(reshape(kv_(keys), {keys.dim(0), keys.dim(1), 2 * heads, dim}), 2, 2);
    parts = {reshape(q_(x), {x.dim(0), x.dim(1), heads, dim}), kv[0], kv[1]};
  }
  if (upcast_) {
    for (Tensor& part : parts) part = to(part, DType::f32);
  }
  const Tensor out = to(attend(site_, tokens, parts[0], parts[1], parts[2], context), x.dtype());  // [B,N,H,D]
  return out_(reshape(out, {x.dim(0), x.dim(1), heads * dim}), residual);
}

SpatialTransformer::Block::Block(const Scope& scope, const TransformerOptions& o, const std::string& site,
                                 SiteList& sites)
    : norm1(scope / "norm1", o.inner()),
      norm2(scope / "norm2", o.inner()),
      norm3(scope / "norm3", o.inner()),
      attn1(scope / "attn1",
            sites.add({.name = site + (o.only_cross ? ".cross0" : ".self"),
                       .kind = o.only_cross ? AttentionKind::cross : AttentionKind::self,
                       .heads = o.heads,
                       .head_dim = o.head_dim(),
                       .dtype = scope.compute()}),
            {.channels = o.inner(), .key_dim = o.only_cross ? o.cross_dim : 0, .upcast = o.upcast_attention}),
      attn2(scope / "attn2",
            sites.add({.name = site + ".cross",
                       .kind = AttentionKind::cross,
                       .heads = o.heads,
                       .head_dim = o.head_dim(),
                       .dtype = scope.compute()}),
            {.channels = o.inner(), .key_dim = o.cross_dim, .upcast = o.upcast_attention}),
      up(scope / "ff" / "net" / 0 / "proj", o.inner(), 8 * o.inner()),
      down(scope / "ff" / "net" / 2, 4 * o.inner(), o.inner()),
      only_cross(o.only_cross) {}

Tensor SpatialTransformer::Block::operator()(const Tensor& tokens, const BlockInput& input, const SiteTokens& self,
                                             const SiteTokens& cross) const {
  Tensor x =
      attn1(norm1(tokens), only_cross ? input.text : Tensor(), only_cross ? cross : self, tokens, *input.context);
  x = attn2(norm2(x), input.text, cross, x, *input.context);
  return down(geglu(up(norm3(x))), x);  // [B,N,C]
}

SpatialTransformer::SpatialTransformer(const Scope& scope, const TransformerOptions& o, SiteList& sites)
    : norm_(scope / "norm", o.channels, {.groups = o.groups, .eps = 1e-6}) {
  in_ = Linear::matrix_or_1x1(scope / "proj_in", o.channels, o.inner());
  for (int64_t i = 0; i < o.layers; ++i) {
    blocks_.emplace_back(scope / "transformer_blocks" / i, o, o.site + ".depth" + std::to_string(i), sites);
  }
  out_ = Linear::matrix_or_1x1(scope / "proj_out", o.inner(), o.channels);
}

SpatialTransformer::Tokens SpatialTransformer::tokens(int64_t height, int64_t width, int64_t text) const {
  const TokenLayout image{{.name = "image", .height = height, .width = width}};
  return {{image, image}, {image, {{.name = "text", .width = text}}}};
}

void SpatialTransformer::list_tokens(int64_t height, int64_t width, int64_t text, std::vector<SiteTokens>& out) const {
  const Tokens of = tokens(height, width, text);
  for (const Block& block : blocks_) {
    out.push_back(block.only_cross ? of.cross : of.self);
    out.push_back(of.cross);
  }
}

Tensor SpatialTransformer::operator()(const Tensor& x, const BlockInput& input) const {
  const Tokens of = this->tokens(x.dim(1), x.dim(2), input.text.dim(1));
  const Shape as_tokens{x.dim(0), x.dim(1) * x.dim(2), x.dim(3)};
  Tensor tokens = in_(reshape(norm_(x, input.norm_partners), as_tokens));
  for (const Block& block : blocks_) tokens = block(tokens, input, of.self, of.cross);
  return reshape(out_(tokens, reshape(x, as_tokens)), x.shape());
}

}  // namespace heddle
