// SD3Transformer2DModel, read top to bottom as figure 2 of the paper: patches and text in, joint blocks, patches out.
#include "unet_dit/sd3.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "kernels/ops/checkpoint.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "unet_dit/sincos_positions.h"

namespace heddle {
SD3Transformer::Block::Block(const Scope& scope, const Options& o, SiteList& sites)
    : modulate_image_(scope / "norm1" / "linear", o.width, (o.dual ? 9 : 6) * o.width),
      modulate_text_(scope / "norm1_context" / "linear", o.width, (o.last ? 2 : 6) * o.width),
      ff_(scope / "ff", o.width),
      last_(o.last) {
  const Scope attn = scope / "attn", attn2 = scope / "attn2";
  const int64_t head_dim = o.width / o.heads;
  const AttentionSite site = sites.add({.name = o.site + ".joint",
                                        .kind = AttentionKind::joint,
                                        .heads = o.heads,
                                        .head_dim = head_dim,
                                        .dtype = scope.compute(),
                                        .streams = {text_stream(o)}});
  joint_ = {site, Projections(attn, Projections::own, o.width, site, o.qk_norm),
            Projections(attn, Projections::added, o.width, site, o.qk_norm)};
  out_ = Linear(attn / "to_out" / 0, o.width, o.width);
  if (o.dual) {
    const AttentionSite self = sites.add({.name = o.site + ".self",
                                          .kind = AttentionKind::self,
                                          .heads = o.heads,
                                          .head_dim = head_dim,
                                          .dtype = scope.compute()});
    self_ = {self, Projections(attn2, Projections::own, o.width, self, o.qk_norm), {}};
    out_self_ = Linear(attn2 / "to_out" / 0, o.width, o.width);
  }
  if (o.last) return;
  out_text_ = Linear(attn / "to_add_out", o.width, o.width);
  ff_text_ = FeedForward(scope / "ff_context", o.width);
}

// Projections; output projection and feed forward where the stream goes on; before the first block, the text's own.
TokenStream SD3Transformer::Block::text_stream(const Options& o) {
  const int64_t square = 2 * o.width * o.width;
  return {.segment = "text",
          .token_flops = (o.last ? 3 : 12) * square + 2 * o.text_in * o.width,
          .row_flops = (o.last ? 2 : 6) * square};
}

Streams SD3Transformer::Block::operator()(const Streams& x, const BlockInput& input) const {
  const std::vector<Tensor> m = modulation_parts(modulate_image_, input.condition, dual() ? 9 : 6);
  AttentionContext& context = *input.context;
  const bool has_text = x.text.defined();
  const std::vector<Tensor> t =
      has_text ? modulation_parts(modulate_text_, input.condition, last_ ? 2 : 6) : std::vector<Tensor>();

  const Tensor image_in = modulated_norm(x.image, {.shift = m[0], .scale = m[1]}, mmdit_eps);
  // The last block's text is only looked at: its two vectors stand scale first.
  const Tensor text_in =
      has_text ? modulated_norm(x.text, {.shift = t[last_ ? 1 : 0], .scale = t[last_ ? 0 : 1]}, mmdit_eps) : Tensor();
  const Tensor out = joint_(image_in, text_in, input.tokens.joint, context);
  const int64_t images = x.image.dim(1), all = out.dim(1);

  Tensor image = out_.gated(slice(out, 1, 0, images), m[2], x.image);
  if (self_) {
    const Tensor self_in = modulated_norm(x.image, {.shift = m[6], .scale = m[7]}, mmdit_eps);
    image = out_self_.gated((*self_)(self_in, {}, input.tokens.self, context), m[8], image);
  }
  image = ff_(modulated_norm(image, {.shift = m[3], .scale = m[4]}, mmdit_eps), m[5], image);
  if (last_ || !has_text) return {image, {}};

  Tensor text = out_text_.gated(slice(out, 1, images, all), t[2], x.text);
  text = ff_text_(modulated_norm(text, {.shift = t[3], .scale = t[4]}, mmdit_eps), t[5], text);
  return {image, text};
}

SD3Transformer::SD3Transformer(const SD3Config& config, const Scope& scope) : config_(config), dtype_(scope.compute()) {
  const SD3Config& c = config_;
  const Scope embed = scope / "pos_embed";
  patches_ = Conv2d(embed / "proj", c.in_channels, c.width(), c.patch_size, {.stride = c.patch_size});
  const int64_t side = c.pos_embed_max_size;
  if (side > 0 && embed.has("pos_embed")) position_table_ = embed.take("pos_embed", {1, side * side, c.width()});
  condition_ =
      ConditionEmbedding(scope / "time_text_embed", {.pooled_dim = c.pooled_projection_dim, .width = c.width()});
  text_in_ = Linear(scope / "context_embedder", c.joint_attention_dim, c.width());
  for (int64_t i = 0; i < c.num_layers; ++i) {
    blocks_.emplace_back(scope / "transformer_blocks" / i,
                         Block::Options{.width = c.width(),
                                        .heads = c.heads,
                                        .qk_norm = c.qk_norm,
                                        .dual = c.dual[static_cast<size_t>(i)],
                                        .last = i + 1 == c.num_layers,
                                        .text_in = i == 0 ? c.joint_attention_dim : 0,
                                        .site = "block." + two_digits(i)},
                         sites_);
  }
  norm_out_ = FinalNorm(scope / "norm_out", c.width());
  out_ = Linear(scope / "proj_out", c.width(), c.patch_size * c.patch_size * c.out_channels);
}

SD3Transformer::Tokens SD3Transformer::tokens(int64_t rows, int64_t columns, int64_t text) {
  const TokenSegment image{.name = "image", .height = rows, .width = columns};
  const TokenLayout both{image, {.name = "text", .width = text}};
  return {{both, both}, {{image}, {image}}};
}

std::vector<SiteTokens> SD3Transformer::site_tokens(int64_t height, int64_t width, int64_t text) const {
  const Tokens of = tokens(height / config_.patch_size, width / config_.patch_size, text);
  std::vector<SiteTokens> out;
  for (const Block& block : blocks_) {
    out.push_back(of.joint);
    if (block.dual()) out.push_back(of.self);
  }
  return out;
}

void SD3Transformer::check_input(const Tensor& sample, const Tensor& timesteps, const Conditioning& given) const {
  const auto require = [](const Tensor& t, const char* name, const Shape& shape) {
    if (!t.defined() || !(t.shape() == shape))
      fail(ErrorCode::usage, std::string("sd3 ") + name, shape.text(), t.defined() ? t.shape().text() : "nothing");
  };
  const SD3Config& c = config_;
  if (sample.rank() != 4 || sample.dim(0) == 0 || sample.dim(1) != c.in_channels || sample.dim(2) < c.patch_size ||
      sample.dim(3) < c.patch_size) {
    fail(ErrorCode::usage, "sd3 sample",
         "[batch, " + std::to_string(c.in_channels) + ", height, width] of at least one patch", sample.shape().text());
  }
  const int64_t side = c.pos_embed_max_size, batch = sample.dim(0);
  if (side > 0 && std::max(sample.dim(2), sample.dim(3)) / c.patch_size > side) {
    fail(ErrorCode::usage, "sd3 sample", "at most " + std::to_string(side) + " patches a side, as pos_embed_max_size",
         sample.shape().text());
  }
  require(timesteps, "timestep", {batch});
  const int64_t text = given.text.defined() && given.text.rank() == 3 ? std::max<int64_t>(1, given.text.dim(1)) : 77;
  require(given.text, "encoder_hidden_states", {batch, text, c.joint_attention_dim});
  require(given.text_embeds, "pooled_projections", {batch, c.pooled_projection_dim});
  for (const int64_t block : given.skip_blocks) {
    if (block < 0 || block >= c.num_layers)
      fail(ErrorCode::usage, "sd3 skip_layers", "blocks in 0.." + std::to_string(c.num_layers - 1),
           std::to_string(block));
  }
}

Tensor SD3Transformer::positions(int64_t rows, int64_t columns) const {
  const int64_t side = config_.pos_embed_max_size;
  if (!position_table_.defined()) {
    return to(sincos_positions(
                  {.rows = rows, .columns = columns, .extent = side, .base = config_.sample_size / config_.patch_size},
                  config_.width()),
              dtype_);
  }
  const int64_t top = (side - rows) / 2, left = (side - columns) / 2;
  Tensor window = reshape(position_table_, {side, side, config_.width()});
  window = slice(slice(window, 0, top, top + rows), 1, left, left + columns);
  return reshape(to(window, dtype_), {1, rows * columns, config_.width()});
}

Streams SD3Transformer::run(const Block& block, const Streams& x, const BlockInput& input) const {
  const heddle::Block once = [&block, input](const std::vector<Tensor>& in) {
    const Streams out = block({in[0], in.size() > 1 ? in[1] : Tensor()}, input);
    return out.text.defined() ? std::vector{out.image, out.text} : std::vector{out.image};
  };
  const bool has_text = x.text.defined() && needs(block.joint(), "text", *input.context);
  const std::vector<Tensor> in = has_text ? std::vector{x.image, x.text} : std::vector{x.image};
  const std::vector<Tensor> out = checkpointing_ ? checkpoint(once, in) : once(in);
  return {out[0], out.size() > 1 ? out[1] : Tensor()};
}

// [B,rows*columns,p*p*C] -> [B,C,rows*p,columns*p]
Tensor SD3Transformer::unpatchify(const Tensor& x, int64_t rows, int64_t columns) const {
  const int64_t p = config_.patch_size, batch = x.dim(0), channels = config_.out_channels;
  const Tensor patches = reshape(x, {batch, rows, columns, p, p, channels});
  return reshape(permute(patches, {0, 5, 1, 3, 2, 4}), {batch, channels, rows * p, columns * p});
}

Tensor SD3Transformer::operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                                  AttentionContext& context) const {
  check_input(sample, timesteps, conditioning);
  const int64_t rows = sample.dim(2) / config_.patch_size, columns = sample.dim(3) / config_.patch_size;
  const BlockInput input{.condition = condition_(timesteps, {}, conditioning.text_embeds),
                         .tokens = tokens(rows, columns, conditioning.text.dim(1)),
                         .context = &context};

  const Tensor image =
      reshape(patches_(to(channels_last(sample), dtype_)), {sample.dim(0), rows * columns, config_.width()});
  const bool has_text = needs(blocks_.front().joint(), "text", context);
  Streams x{add(image, positions(rows, columns)), has_text ? text_in_(to(conditioning.text, dtype_)) : Tensor()};

  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (std::ranges::find(conditioning.skip_blocks, static_cast<int64_t>(i)) != conditioning.skip_blocks.end())
      continue;
    x = run(blocks_[i], x, input);
  }

  return unpatchify(to(out_(norm_out_(x.image, input.condition)), DType::f32), rows, columns);
}

}  // namespace heddle
