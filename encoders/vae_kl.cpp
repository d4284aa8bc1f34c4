// AutoencoderKL, read top to bottom as the original.
#include "encoders/vae_kl.h"

#include "encoders/vae_tiles.h"
#include "kernels/core/error.h"
#include "kernels/ops/checkpoint.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

using Resample = VaeBlockOptions::Resample;
using AttentionPlace = VaeBlockOptions::Attention;

VaeBlockOptions mid_block(const VaeConfig& c, const std::string& side) {
  return {.in = c.channels.back(),
          .out = c.channels.back(),
          .layers = 2,
          .groups = c.groups,
          .act = c.act,
          .attention = c.mid_attention ? AttentionPlace::between : AttentionPlace::none,
          .site = side + ".mid"};
}

std::vector<VaeBlock> encoder_blocks(const VaeConfig& c, const Scope& scope, std::vector<AttentionSite>& sites) {
  std::vector<VaeBlock> blocks;
  for (size_t i = 0; i < c.channels.size(); ++i) {
    const bool last = i + 1 == c.channels.size();
    const VaeBlockOptions options{.in = c.channels[i == 0 ? 0 : i - 1],
                                  .out = c.channels[i],
                                  .layers = c.layers,
                                  .groups = c.groups,
                                  .act = c.act,
                                  .resample = last ? Resample::none : Resample::halve,
                                  .attention = c.down_attends[i] ? AttentionPlace::after_each : AttentionPlace::none,
                                  .site = "encoder.down." + std::to_string(i)};
    blocks.emplace_back(scope / "down_blocks" / static_cast<int64_t>(i), options, sites);
  }
  blocks.emplace_back(scope / "mid_block", mid_block(c, "encoder"), sites);
  return blocks;
}

std::vector<VaeBlock> decoder_blocks(const VaeConfig& c, const Scope& scope, std::vector<AttentionSite>& sites) {
  std::vector<VaeBlock> blocks;
  blocks.emplace_back(scope / "mid_block", mid_block(c, "decoder"), sites);
  const std::vector<int64_t> widths(c.channels.rbegin(), c.channels.rend());
  for (size_t i = 0; i < widths.size(); ++i) {
    const bool last = i + 1 == widths.size();
    const VaeBlockOptions options{.in = widths[i == 0 ? 0 : i - 1],
                                  .out = widths[i],
                                  .layers = c.layers + 1,
                                  .groups = c.groups,
                                  .act = c.act,
                                  .resample = last ? Resample::none : Resample::twice,
                                  .attention = c.up_attends[i] ? AttentionPlace::after_each : AttentionPlace::none,
                                  .site = "decoder.up." + std::to_string(i)};
    blocks.emplace_back(scope / "up_blocks" / static_cast<int64_t>(i), options, sites);
  }
  return blocks;
}

void check_shape(const Tensor& x, int64_t channels, int64_t least, const char* where) {
  if (x.rank() == 4 && x.count() > 0 && x.dim(1) == channels && x.dim(2) >= least && x.dim(3) >= least) return;
  fail(ErrorCode::usage, where,
       "[batch, " + std::to_string(channels) + ", height, width], edges of at least " + std::to_string(least),
       x.shape().text());
}

}  // namespace

VaeKl::VaeKl(const VaeConfig& config, const Scope& scope) : config_(config), dtype_(scope.compute()) {
  const VaeConfig& c = config_;
  const Scope encoder = scope / "encoder", decoder = scope / "decoder";
  const int64_t first = c.channels.front(), last = c.channels.back(), latent = c.latent_channels;
  const ConvGeometry same{.padding = Padding::same(1)};
  // The last activations are SiLU whatever act_fn says.
  const GroupNormOptions out_norm{.groups = c.groups, .eps = 1e-6, .then = Activation::silu};
  encoder_in_ = Conv2d(encoder / "conv_in", c.in_channels, first, 3, same);
  encoder_ = encoder_blocks(c, encoder, sites_);
  encoder_norm_ = GroupNorm(encoder / "conv_norm_out", last, out_norm);
  encoder_out_ = Conv2d(encoder / "conv_out", last, 2 * latent, 3, same);
  if (c.quant) quant_ = Linear::matrix_or_1x1(scope / "quant_conv", 2 * latent, 2 * latent);

  if (c.post_quant) post_quant_ = Linear::matrix_or_1x1(scope / "post_quant_conv", latent, latent);
  decoder_in_ = Conv2d(decoder / "conv_in", latent, last, 3, same);
  decoder_ = decoder_blocks(c, decoder, sites_);
  decoder_norm_ = GroupNorm(decoder / "conv_norm_out", first, out_norm);
  decoder_out_ = Conv2d(decoder / "conv_out", first, c.out_channels, 3, same);
}

namespace {

Tensor run(const std::vector<VaeBlock>& blocks, Tensor x, bool checkpointing, AttentionContext& context) {
  for (const VaeBlock& block : blocks) {
    const auto step = [&block, &context](const std::vector<Tensor>& inputs) -> std::vector<Tensor> {
      return {block(inputs[0], context)};
    };
    x = checkpointing ? checkpoint(step, {x})[0] : block(x, context);
  }
  return x;
}

}  // namespace

Tensor VaeKl::encode_whole(const Tensor& picture, AttentionContext& context) const {
  Tensor x = encoder_in_(picture);                // [B,H,W,channels[0]]
  x = run(encoder_, x, checkpointing_, context);  // [B,h,w,channels[-1]]
  x = encoder_out_(encoder_norm_(x));             // [B,h,w,2*latent]
  return quant_.defined() ? quant_(x) : x;
}

Tensor VaeKl::decode_whole(const Tensor& latent, AttentionContext& context) const {
  Tensor x = decoder_in_(post_quant_.defined() ? post_quant_(latent) : latent);  // [B,h,w,channels[-1]]
  x = run(decoder_, x, checkpointing_, context);                                 // [B,H,W,channels[0]]
  return decoder_out_(decoder_norm_(x));                                         // [B,H,W,out]
}

void VaeKl::set_tiling(int64_t sample_size) {
  if (sample_size != 0 && (sample_size < 4 * config_.factor() || sample_size > (1 << 20))) {
    fail(ErrorCode::usage, "vae tiling", "0, or tiles of at least " + std::to_string(4 * config_.factor()) + " pixels",
         std::to_string(sample_size));
  }
  tile_ = sample_size;
}

LatentNormal VaeKl::encode(const Tensor& picture, AttentionContext& context) const {
  check_shape(picture, config_.in_channels, config_.factor(), "vae encode");
  const Tensor x = channels_last(to(picture, dtype_));
  const VaeTiles tiles{.from = tile_, .to = tile_ / config_.factor()};
  const auto whole = [&](const Tensor& part) { return encode_whole(part, context); };
  const Tensor moments = channels_first(to(tiles.covers(x) ? whole(x) : tiles.run(x, whole), DType::f32));
  const std::vector<Tensor> parts = split(moments, 1, 2);
  return {parts[0], clamp(parts[1], -30, 20)};
}

Tensor VaeKl::decode(const Tensor& latent, AttentionContext& context) const {
  check_shape(latent, config_.latent_channels, 1, "vae decode");
  const Tensor z = channels_last(to(latent, dtype_));
  const VaeTiles tiles{.from = tile_ / config_.factor(), .to = tile_};
  const auto whole = [&](const Tensor& part) { return decode_whole(part, context); };
  return channels_first(to(tiles.covers(z) ? whole(z) : tiles.run(z, whole), DType::f32));
}

Tensor VaeKl::per_channel(const std::vector<double>& values) const {
  const std::vector<float> narrow(values.begin(), values.end());
  return Tensor::from(narrow, {1, static_cast<int64_t>(narrow.size()), 1, 1});
}

Tensor VaeKl::to_denoiser(const Tensor& latent) const {
  const VaeConfig& c = config_;
  Tensor x = c.shift_factor == 0 ? latent : add_constant(latent, -c.shift_factor);
  if (!c.latents_mean.empty()) x = subtract(x, per_channel(c.latents_mean));
  x = scale(x, c.scaling_factor);
  return c.latents_std.empty() ? x : divide(x, per_channel(c.latents_std));
}

Tensor VaeKl::from_denoiser(const Tensor& latent) const {
  const VaeConfig& c = config_;
  Tensor x = c.latents_std.empty() ? latent : multiply(latent, per_channel(c.latents_std));
  x = scale(x, 1 / c.scaling_factor);
  if (!c.latents_mean.empty()) x = add(x, per_channel(c.latents_mean));
  return c.shift_factor == 0 ? x : add_constant(x, c.shift_factor);
}

}  // namespace heddle
