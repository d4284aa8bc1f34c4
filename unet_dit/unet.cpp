// UNet2DConditionModel, read top to bottom as the paper's figure: embed, down, mid, up, out.
#include "unet_dit/unet.h"

#include <algorithm>
#include <tuple>

#include "attention_control/plan/shared_norms.h"
#include "kernels/core/error.h"
#include "kernels/ops/checkpoint.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"

namespace heddle {

UNet::UNet(const UNetConfig& config, const Scope& scope) : config_(config), dtype_(scope.compute()) {
  const UNetConfig& c = config_;
  const int64_t first = c.channels.front();
  conv_in_ = Conv2d(scope / "conv_in", c.in_channels, first, c.conv_in_kernel,
                    {.padding = Padding::same((c.conv_in_kernel - 1) / 2)});
  build_embeddings(scope);
  build_down(scope / "down_blocks");
  if (c.mid != UNetConfig::Mid::none) build_mid(scope / "mid_block");
  build_up(scope / "up_blocks");
  norm_out_ = GroupNorm(scope / "conv_norm_out", first, {.groups = c.groups, .eps = c.eps, .then = c.act});
  conv_out_ = Conv2d(scope / "conv_out", first, c.out_channels, c.conv_out_kernel,
                     {.padding = Padding::same((c.conv_out_kernel - 1) / 2)});
}

void UNet::build_embeddings(const Scope& scope) {
  const UNetConfig& c = config_;
  const int64_t sinusoid_dim = c.channels.front();
  time_embedding_ = EmbeddingMlp(scope / "time_embedding", sinusoid_dim, c.time_dim, c.act);
  if (c.time_cond_dim > 0)
    time_cond_ = Linear(scope / "time_embedding" / "cond_proj", c.time_cond_dim, sinusoid_dim, Bias::none);
  if (c.encoder_hid_dim > 0) encoder_hid_ = Linear(scope / "encoder_hid_proj", c.encoder_hid_dim, c.cross_dim[0]);
  if (c.text_time)
    add_embedding_ = EmbeddingMlp(scope / "add_embedding", c.projection_input_dim, c.time_dim, Activation::silu);
  using Kind = UNetConfig::ClassEmbedding;
  const Scope classes = scope / "class_embedding";
  if (c.class_embedding == Kind::table) class_table_ = classes.take_f32("weight", {c.class_count, c.time_dim});
  if (c.class_embedding == Kind::timestep) class_mlp_ = EmbeddingMlp(classes, sinusoid_dim, c.time_dim, c.act);
  if (c.class_embedding == Kind::projection)
    class_mlp_ = EmbeddingMlp(classes, c.projection_input_dim, c.time_dim, Activation::silu);
  if (c.class_embedding == Kind::simple_projection) class_linear_ = Linear(classes, c.projection_input_dim, c.time_dim);
}

ResnetOptions UNet::resnet_options(int64_t in, int64_t out, double output_scale) const {
  return {.in = in,
          .out = out,
          .time_dim = config_.block_time_dim(),
          .groups = config_.groups,
          .eps = config_.eps,
          .output_scale = output_scale,
          .act = config_.act,
          .scale_shift = config_.scale_shift};
}

TransformerOptions UNet::transformer_options(size_t level, int64_t layers, const std::string& site) const {
  return {.channels = config_.channels[level],
          .heads = config_.heads[level],
          .cross_dim = config_.cross_dim[level],
          .layers = layers,
          .groups = config_.groups,
          .only_cross = config_.only_cross[level],
          .upcast_attention = config_.upcast_attention,
          .site = site};
}

void UNet::build_down(const Scope& scope) {
  int64_t width = config_.channels.front();
  for (size_t level = 0; level < config_.levels(); ++level) {
    const Scope block = scope / static_cast<int64_t>(level);
    const int64_t out = config_.channels[level];
    Stage stage;
    for (int64_t i = 0; i < config_.layers[level]; ++i) {
      stage.resnets.emplace_back(block / "resnets" / i, resnet_options(width, out));
      width = out;
      if (!config_.down_attends[level]) continue;
      const std::string site = "down." + std::to_string(level) + ".block" + std::to_string(i);
      stage.transformers.emplace_back(
          block / "attentions" / i,
          transformer_options(level, config_.transformer_layers[level][static_cast<size_t>(i)], site), sites_);
    }
    if (level + 1 < config_.levels()) {
      // Without padding the original pads one row and column at the far side only.
      const Padding padding = config_.downsample_padding == 1 ? Padding::same(1) : Padding{.bottom = 1, .right = 1};
      stage.resample = Conv2d(block / "downsamplers" / 0 / "conv", out, out, 3, {.stride = 2, .padding = padding});
    }
    down_.push_back(std::move(stage));
  }
}

void UNet::build_mid(const Scope& scope) {
  const size_t last = config_.levels() - 1;
  const int64_t width = config_.channels[last];
  mid_.resnets.emplace_back(scope / "resnets" / 0, resnet_options(width, width, config_.mid_scale));
  if (config_.mid != UNetConfig::Mid::cross_attention) return;
  TransformerOptions options = transformer_options(last, config_.transformer_layers[last][0], "mid.block0");
  options.only_cross = false;  // the original's mid block attends to itself whatever the levels do
  mid_.transformers.emplace_back(scope / "attentions" / 0, options, sites_);
  mid_.resnets.emplace_back(scope / "resnets" / 1, resnet_options(width, width, config_.mid_scale));
}

void UNet::build_up(const Scope& scope) {
  const size_t levels = config_.levels();
  int64_t width = config_.channels.back();
  for (size_t i = 0; i < levels; ++i) {
    const size_t level = levels - 1 - i;
    const Scope block = scope / static_cast<int64_t>(i);
    const int64_t out = config_.channels[level];
    const int64_t skip_below = config_.channels[level > 0 ? level - 1 : 0];
    const int64_t count = config_.layers[level] + 1;
    Stage stage;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t skip = j + 1 == count ? skip_below : out;
      stage.resnets.emplace_back(block / "resnets" / j, resnet_options(width + skip, out));
      width = out;
      if (!config_.up_attends[i]) continue;
      const std::string site = "up." + std::to_string(i) + ".block" + std::to_string(j);
      stage.transformers.emplace_back(
          block / "attentions" / j,
          transformer_options(level, config_.up_transformer_layers[i][static_cast<size_t>(j)], site), sites_);
    }
    if (i + 1 < levels)
      stage.resample = Conv2d(block / "upsamplers" / 0 / "conv", out, out, 3, {.padding = Padding::same(1)});
    up_.push_back(std::move(stage));
  }
}

void UNet::check_input(const Tensor& sample, const Tensor& timesteps, const Conditioning& given) const {
  const auto require = [](const Tensor& t, const char* name, const Shape& shape) {
    if (!t.defined() || !(t.shape() == shape)) {
      fail(ErrorCode::usage, std::string("unet ") + name, shape.text(), t.defined() ? t.shape().text() : "nothing");
    }
  };
  if (sample.rank() != 4 || sample.dim(1) != config_.in_channels || sample.count() == 0) {
    fail(ErrorCode::usage, "unet sample", "[batch, " + std::to_string(config_.in_channels) + ", height, width]",
         sample.shape().text());
  }
  const int64_t batch = sample.dim(0);
  const int64_t text_dim = config_.encoder_hid_dim > 0 ? config_.encoder_hid_dim : config_.cross_dim[0];
  require(timesteps, "timestep", {batch});
  require(given.text, "encoder_hidden_states",
          {batch, given.text.defined() && given.text.rank() == 3 ? given.text.dim(1) : 77, text_dim});
  if (config_.text_time) {
    const int64_t ids = given.time_ids.defined() && given.time_ids.rank() == 2 ? given.time_ids.dim(1) : 6;
    require(given.time_ids, "time_ids", {batch, ids});
    require(given.text_embeds, "text_embeds", {batch, config_.projection_input_dim - ids * config_.addition_time_dim});
  }
  if (given.guidance.defined() && config_.time_cond_dim > 0)
    require(given.guidance, "timestep_cond", {batch, config_.time_cond_dim});
  if (config_.class_embedding != UNetConfig::ClassEmbedding::none &&
      (!given.class_labels.defined() || given.class_labels.dim(0) != batch)) {
    fail(ErrorCode::usage, "unet class_labels", "one per row",
         given.class_labels.defined() ? given.class_labels.shape().text() : "nothing");
  }
}

Tensor UNet::embed_class(const Tensor& labels) const {
  using Kind = UNetConfig::ClassEmbedding;
  switch (config_.class_embedding) {
    case Kind::table:
      return embedding(class_table_, labels, dtype_);
    case Kind::timestep:
      return class_mlp_(to(sinusoid(labels, {.dim = config_.channels.front(),
                                             .cosine_first = config_.cosine_first,
                                             .downscale_freq_shift = config_.freq_shift}),
                           dtype_));
    case Kind::projection:
      return class_mlp_(to(labels, dtype_));
    case Kind::simple_projection:
      return class_linear_(to(labels, dtype_));
    default:
      return to(labels, dtype_);
  }
}

Tensor UNet::embed_time(const Tensor& timesteps, const Conditioning& given) const {
  const UNetConfig& c = config_;
  const SinusoidOptions options{
      .dim = c.channels.front(), .cosine_first = c.cosine_first, .downscale_freq_shift = c.freq_shift};
  Tensor projected = to(sinusoid(timesteps, options), dtype_);
  if (given.guidance.defined() && time_cond_.defined()) projected = time_cond_(to(given.guidance, dtype_), projected);
  Tensor emb = activate(time_embedding_(projected), c.time_post_act);  // [B,T]
  if (c.class_embedding != UNetConfig::ClassEmbedding::none) {
    const Tensor of_class = embed_class(given.class_labels);
    emb = c.class_concat ? concat({emb, of_class}, 1) : add(emb, of_class);
  }
  if (c.text_time) {
    const int64_t batch = given.time_ids.dim(0), ids = given.time_ids.dim(1);
    const Tensor sizes =
        sinusoid(reshape(to(given.time_ids, DType::f32), {batch * ids}),
                 {.dim = c.addition_time_dim, .cosine_first = c.cosine_first, .downscale_freq_shift = c.freq_shift});
    const Tensor joined =
        concat({to(given.text_embeds, DType::f32), reshape(sizes, {batch, ids * c.addition_time_dim})}, 1);
    emb = add(emb, add_embedding_(to(joined, dtype_)));
  }
  return activate(activate(emb, c.time_act), c.act);
}

Tensor UNet::run(const ResnetBlock& resnet, const SpatialTransformer* transformer, const Tensor& x,
                 const BlockInput& input) const {
  const Block block = [&resnet, transformer, context = input.context,
                       partners = input.norm_partners](const std::vector<Tensor>& in) {
    const BlockInput with{.time = in[1], .text = in[2], .context = context, .norm_partners = partners};
    const Tensor out = resnet(in[0], with);
    return std::vector{transformer ? (*transformer)(out, with) : out};
  };
  const std::vector<Tensor> inputs{x, input.time, input.text};
  return (checkpointing_ ? checkpoint(block, inputs) : block(inputs))[0];
}

std::vector<SiteTokens> UNet::site_tokens(int64_t height, int64_t width, int64_t text) const {
  std::vector<SiteTokens> out;
  const auto list = [&](const Stage& stage, size_t i) {
    if (i < stage.transformers.size()) stage.transformers[i].list_tokens(height, width, text, out);
  };
  std::vector<std::pair<int64_t, int64_t>> sizes;  // of the levels on the way down
  const int64_t less = config_.downsample_padding == 1 ? 1 : 2;
  for (const Stage& stage : down_) {
    for (size_t i = 0; i < stage.resnets.size(); ++i) list(stage, i);
    sizes.emplace_back(height, width);
    if (stage.resample) height = (height - less) / 2 + 1, width = (width - less) / 2 + 1;
  }
  for (size_t i = 0; i < mid_.resnets.size(); ++i) list(mid_, i);
  for (const Stage& stage : up_) {
    for (size_t i = 0; i < stage.resnets.size(); ++i) list(stage, i);
    sizes.pop_back();
    if (stage.resample) std::tie(height, width) = sizes.back();
  }
  return out;
}

int UNet::group_norms() const {
  size_t count = 1;  // norm_out_
  const auto add = [&](const Stage& stage) { count += 2 * stage.resnets.size() + stage.transformers.size(); };
  for (const std::vector<Stage>* stages : {&down_, &up_}) std::ranges::for_each(*stages, add);
  add(mid_);
  return static_cast<int>(count);
}

Tensor UNet::operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                        AttentionContext& context) const {
  check_input(sample, timesteps, conditioning);
  const BlockInput input{
      .time = embed_time(timesteps, conditioning),
      .text = encoder_hid_.defined() ? encoder_hid_(to(conditioning.text, dtype_)) : to(conditioning.text, dtype_),
      .context = &context,
      .norm_partners = norm_partners(context, sample.dim(0))};
  Tensor x = to(channels_last(sample), dtype_);
  if (config_.center_input_sample) x = add_constant(scale(x, 2), -1);
  x = conv_in_(x);

  std::vector<Tensor> skips{x};
  for (const Stage& stage : down_) {
    for (size_t i = 0; i < stage.resnets.size(); ++i) {
      x = run(stage.resnets[i], stage.transformers.empty() ? nullptr : &stage.transformers[i], x, input);
      skips.push_back(x);
    }
    if (stage.resample) skips.push_back(x = (*stage.resample)(x));
  }

  for (size_t i = 0; i < mid_.resnets.size(); ++i) {
    x = run(mid_.resnets[i], i < mid_.transformers.size() ? &mid_.transformers[i] : nullptr, x, input);
  }

  for (const Stage& stage : up_) {
    for (size_t i = 0; i < stage.resnets.size(); ++i) {
      x = concat({x, skips.back()}, 3);
      skips.pop_back();
      x = run(stage.resnets[i], stage.transformers.empty() ? nullptr : &stage.transformers[i], x, input);
    }
    // The next skip's size, not twice ours: odd sizes were rounded up on the way down.
    if (stage.resample) x = (*stage.resample)(upsample_nearest(x, skips.back().dim(1), skips.back().dim(2)));
  }

  return channels_first(to(conv_out_(norm_out_(x, input.norm_partners)), DType::f32));
}

}  // namespace heddle
