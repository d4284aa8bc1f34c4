// FluxTransformer2DModel, read top to bottom as its figure: embed, double blocks, join, single blocks, cut, project.
#include "unet_dit/flux.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"
#include "kernels/ops/checkpoint.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {

FluxTransformer::Stream::Stream(const Scope& scope, const std::string& suffix, const Scope& out_scope, int64_t width)
    : modulate(scope / ("norm1" + suffix) / "linear", width, 6 * width),
      out(out_scope, width, width),
      ff(scope / ("ff" + suffix), width) {}

FluxTransformer::DoubleBlock::DoubleBlock(const Scope& scope, const FluxConfig& c, const AttentionSite& site)
    : image(scope, "", scope / "attn" / "to_out" / 0, c.width()),
      text(scope, "_context", scope / "attn" / "to_add_out", c.width()),
      joint{site, Projections(scope / "attn", Projections::added, c.width(), site, true),
            Projections(scope / "attn", Projections::own, c.width(), site, true)} {}

Streams FluxTransformer::DoubleBlock::operator()(const Streams& x, const BlockInput& input) const {
  const bool has_text = x.text.defined();
  const std::vector<Tensor> m = modulation_parts(image.modulate, input.condition, 6);
  const std::vector<Tensor> t = has_text ? modulation_parts(text.modulate, input.condition, 6) : std::vector<Tensor>();

  const Tensor image_in = modulated_norm(x.image, {.shift = m[0], .scale = m[1]}, mmdit_eps);
  const Tensor text_in = has_text ? modulated_norm(x.text, {.shift = t[0], .scale = t[1]}, mmdit_eps) : Tensor();
  const Tensor out = joint(text_in, image_in, input.tokens, *input.context, input.rotary);
  const int64_t all = out.dim(1), texts = all - x.image.dim(1);

  Tensor i = image.out.gated(slice(out, 1, texts, all), m[2], x.image);
  i = image.ff(modulated_norm(i, {.shift = m[3], .scale = m[4]}, mmdit_eps), m[5], i);
  if (!has_text) return {i, {}};

  const Tensor w = text.out.gated(slice(out, 1, 0, texts), t[2], x.text);
  return {i, text.ff(modulated_norm(w, {.shift = t[3], .scale = t[4]}, mmdit_eps), t[5], w)};
}

FluxTransformer::SingleBlock::SingleBlock(const Scope& scope, const FluxConfig& c, const AttentionSite& site)
    : modulate(scope / "norm" / "linear", c.width(), 3 * c.width()),
      up(scope / "proj_mlp", c.width(), 4 * c.width()),
      out(Linear::split(scope / "proj_out", {c.width(), 4 * c.width()}, c.width())),
      joint{site, Projections(scope / "attn", Projections::own, c.width(), site, true), {}} {}

// Attention and feed forward side by side, both gated into x.
Tensor FluxTransformer::SingleBlock::operator()(const Tensor& x, const BlockInput& input) const {
  const std::vector<Tensor> m = modulation_parts(modulate, input.condition, 3);
  const Tensor in = modulated_norm(x, {.shift = m[0], .scale = m[1]}, mmdit_eps);
  const Tensor attended = out[0].gated(joint(in, {}, input.tokens, *input.context, input.rotary), m[2], x);
  return out[1].gated(up.activated(in, Activation::gelu_tanh), m[2], attended);
}

FluxTransformer::FluxTransformer(const FluxConfig& config, const Scope& scope)
    : config_(config),
      dtype_(scope.compute()),
      condition_(
          scope / "time_text_embed",
          {.pooled_dim = config.pooled_projection_dim, .width = config.width(), .guidance = config.guidance_embeds}),
      image_in_(scope / "x_embedder", config.in_channels, config.width()),
      text_in_(scope / "context_embedder", config.joint_attention_dim, config.width()),
      out_(scope / "proj_out", config.width(), config.predicted_channels()),
      norm_out_(scope / "norm_out", config.width()) {
  // A text token costs the same in both kinds of block: q, k, v, output projection and feed forward.
  const auto site = [&](const std::string& kind, int64_t i) {
    const int64_t square = 2 * config.width() * config.width(), first = sites_.all().empty() ? 1 : 0;
    const TokenStream text{.segment = "text",
                           .token_flops = 12 * square + first * 2 * config.joint_attention_dim * config.width(),
                           .row_flops = kind == "double" ? 6 * square : 0};
    return sites_.add({.name = kind + "." + two_digits(i) + ".joint",
                       .kind = AttentionKind::joint,
                       .heads = config.heads,
                       .head_dim = config.head_dim,
                       .rotary = true,
                       .dtype = dtype_,
                       .streams = {text}});
  };
  for (int64_t i = 0; i < config.num_layers; ++i)
    doubles_.emplace_back(scope / "transformer_blocks" / i, config, site("double", i));
  for (int64_t i = 0; i < config.num_single_layers; ++i)
    singles_.emplace_back(scope / "single_transformer_blocks" / i, config, site("single", i));
}

std::vector<SiteTokens> FluxTransformer::site_tokens(int64_t height, int64_t width, int64_t text) const {
  const TokenLayout both{{.name = "text", .width = text}, {.name = "image", .height = height / 2, .width = width / 2}};
  return std::vector<SiteTokens>(sites_.all().size(), {both, both});
}

void FluxTransformer::check_input(const FluxTokens& x, const Tensor& times, const Conditioning& given) const {
  const auto require = [](const Tensor& t, const char* name, const Shape& shape) {
    if (!t.defined() || !(t.shape() == shape))
      fail(ErrorCode::usage, std::string("flux ") + name, shape.text(), t.defined() ? t.shape().text() : "nothing");
  };
  const FluxConfig& c = config_;
  if (x.image.rank() != 3 || x.image.count() == 0 || x.image.dim(2) != c.in_channels) {
    fail(ErrorCode::usage, "flux hidden_states", "[batch, tokens, " + std::to_string(c.in_channels) + "]",
         x.image.shape().text());
  }
  const int64_t batch = x.image.dim(0), axes = static_cast<int64_t>(c.axes_dims_rope.size());
  const int64_t text = given.text.defined() && given.text.rank() == 3 ? std::max<int64_t>(1, given.text.dim(1)) : 512;
  require(times, "timestep", {batch});
  require(given.text, "encoder_hidden_states", {batch, text, c.joint_attention_dim});
  require(given.text_embeds, "pooled_projections", {batch, c.pooled_projection_dim});
  require(x.image_ids, "img_ids", {x.image.dim(1), axes});
  require(x.text_ids, "txt_ids", {text, axes});
  if (c.guidance_embeds) {
    require(given.guidance, "guidance", {batch});
  } else if (given.guidance.defined()) {
    fail(ErrorCode::usage, "flux guidance", "none: this network has no guidance_embeds", given.guidance.shape().text());
  }
  if (!given.skip_blocks.empty()) {
    fail(ErrorCode::usage, "flux skip_layers", "none: every block of this network is needed",
         std::to_string(given.skip_blocks.size()) + " blocks");
  }
}

// Each axis turns its share of a head's features, the first pair by the coordinate itself, later pairs ever more
// slowly.
Rotary FluxTransformer::positions(const Tensor& text_ids, const Tensor& image_ids) const {
  std::vector<double> angles;
  const std::vector<float> ids = concat({text_ids, image_ids}, 0).to_vector();
  const size_t axes = config_.axes_dims_rope.size();
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t dim = config_.axes_dims_rope[i % axes];
    for (int64_t k = 0; k < dim; k += 2)
      angles.push_back(static_cast<double>(ids[i]) /
                       std::pow(10000.0, static_cast<double>(k) / static_cast<double>(dim)));
  }
  return rotary_tables(angles, text_ids.dim(0) + image_ids.dim(0));
}

Streams FluxTransformer::run(const DoubleBlock& block, const Streams& x, const BlockInput& input) const {
  const Block once = [&block, input](const std::vector<Tensor>& in) {
    const Streams out = block({in[0], in.size() > 1 ? in[1] : Tensor()}, input);
    return out.text.defined() ? std::vector{out.image, out.text} : std::vector{out.image};
  };
  const bool has_text = x.text.defined() && needs(block.joint.site, "text", *input.context);
  const std::vector<Tensor> in = has_text ? std::vector{x.image, x.text} : std::vector{x.image};
  const std::vector<Tensor> out = checkpointing_ ? checkpoint(once, in) : once(in);
  return {out[0], out.size() > 1 ? out[1] : Tensor()};
}

Tensor FluxTransformer::run(const SingleBlock& block, const Tensor& x, const BlockInput& input) const {
  const Block once = [&block, input](const std::vector<Tensor>& in) { return std::vector{block(in[0], input)}; };
  return (checkpointing_ ? checkpoint(once, {x}) : once({x}))[0];
}

Tensor FluxTransformer::predict(const FluxTokens& tokens, const Tensor& times, const Conditioning& given,
                                AttentionContext& context) const {
  check_input(tokens, times, given);
  const int64_t texts = given.text.dim(1), images = tokens.image.dim(1);
  const TokenLayout both{{.name = "text", .width = texts}, segment_of(tokens.image_ids)};
  const Tensor guidance = given.guidance.defined() ? scale(given.guidance, 1000) : Tensor();
  const BlockInput input{.condition = condition_(scale(times, 1000), guidance, given.text_embeds),
                         .tokens = {both, both},
                         .rotary = positions(tokens.text_ids, tokens.image_ids),
                         .context = &context};

  const bool has_text = sites_.all().empty() || needs(sites_.all().front(), "text", context);
  Streams x{image_in_(to(tokens.image, dtype_)), has_text ? text_in_(to(given.text, dtype_)) : Tensor()};
  for (const DoubleBlock& block : doubles_) x = run(block, x, input);

  Tensor joined = x.text.defined() ? concat({x.text, x.image}, 1) : x.image;
  const auto image_of = [&](const Tensor& both) { return slice(both, 1, both.dim(1) - images, both.dim(1)); };
  for (const SingleBlock& block : singles_)
    joined = run(block, needs(block.joint.site, "text", context) ? joined : image_of(joined), input);

  return to(out_(norm_out_(image_of(joined), input.condition)), DType::f32);
}

Tensor FluxTransformer::operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                                   AttentionContext& context) const {
  const int64_t channels = config_.in_channels / 4;
  if (sample.rank() != 4 || sample.dim(1) != channels || config_.in_channels % 4 != 0 ||
      config_.predicted_channels() % 4 != 0 || sample.dim(2) % 2 != 0 || sample.dim(3) % 2 != 0 ||
      sample.count() == 0) {
    fail(ErrorCode::usage, "flux sample", "[batch, " + std::to_string(channels) + ", height, width] of even sizes",
         sample.shape().text());
  }
  const int64_t height = sample.dim(2), width = sample.dim(3),
                axes = static_cast<int64_t>(config_.axes_dims_rope.size());
  const int64_t text = conditioning.text.defined() && conditioning.text.rank() == 3 ? conditioning.text.dim(1) : 0;
  const FluxTokens tokens{.image = pack_latents(sample),
                          .image_ids = grid_ids(height / 2, width / 2, axes),
                          .text_ids = Tensor::zeros({text, axes})};
  return unpack_latents(predict(tokens, scale(timesteps, 1e-3), conditioning, context), height, width);
}

}  // namespace heddle
