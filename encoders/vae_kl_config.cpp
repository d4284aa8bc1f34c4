// Reads and checks config.json of an AutoencoderKL.
#include <cmath>

#include "encoders/config_keys.h"
#include "encoders/vae_kl.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

// Which blocks attend, by their types; one type for each level.
std::vector<bool> read_blocks(const Json& json, const char* key, const std::string& plain, const std::string& attending,
                              size_t levels) {
  std::vector<bool> attends;
  const auto types = json.has(key) ? json.get<std::vector<std::string>>(key) : std::vector<std::string>{plain};
  for (const std::string& type : types) {
    if (type != plain && type != attending)
      fail(ErrorCode::input, json.where() + " " + key, plain + " or " + attending, type);
    attends.push_back(type == attending);
  }
  if (attends.size() != levels) {
    fail(ErrorCode::input, json.where() + " " + key, std::to_string(levels) + " entries, as block_out_channels",
         std::to_string(attends.size()));
  }
  return attends;
}

double finite_factor(const Json& json, const char* key, double fallback) {
  const double value = json.get_or<double>(key, fallback);
  if (!std::isfinite(value)) fail(ErrorCode::input, json.where() + " " + key, "a finite number", std::to_string(value));
  return value;
}

std::vector<double> per_channel(const Json& json, const char* key, size_t channels) {
  if (!json.has(key)) return {};
  const auto values = json.get<std::vector<double>>(key);
  if (values.size() != channels) {
    fail(ErrorCode::input, json.where() + " " + key, std::to_string(channels) + " numbers, as latent_channels",
         std::to_string(values.size()));
  }
  return values;
}

}  // namespace

VaeConfig VaeConfig::from(const Json& json) {
  require_known_keys(
      json,
      {"in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block",
       "act_fn", "latent_channels", "norm_num_groups", "sample_size", "scaling_factor", "shift_factor", "latents_mean",
       "latents_std", "force_upcast", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"},
      diffusers_bookkeeping());
  constexpr int64_t widest = 1 << 16;
  VaeConfig c;
  c.in_channels = bounded_count(json, "in_channels", 3, {1, 1 << 10});
  c.out_channels = bounded_count(json, "out_channels", 3, {1, 1 << 10});
  c.latent_channels = bounded_count(json, "latent_channels", 4, {1, 1 << 12});
  c.layers = bounded_count(json, "layers_per_block", 1, {1, 256});
  c.groups = bounded_count(json, "norm_num_groups", 32, {1, widest});
  if (json.has("block_out_channels")) c.channels = json.get<std::vector<int64_t>>("block_out_channels");
  if (c.channels.empty() || c.channels.size() > 12) {
    fail(ErrorCode::input, json.where() + " block_out_channels", "1 to 12 levels", std::to_string(c.channels.size()));
  }
  for (const int64_t width : c.channels) {
    if (width < 1 || width > widest || width % c.groups != 0) {
      fail(ErrorCode::input, json.where() + " block_out_channels",
           "multiples of norm_num_groups " + std::to_string(c.groups), std::to_string(width));
    }
  }
  c.down_attends =
      read_blocks(json, "down_block_types", "DownEncoderBlock2D", "AttnDownEncoderBlock2D", c.channels.size());
  c.up_attends = read_blocks(json, "up_block_types", "UpDecoderBlock2D", "AttnUpDecoderBlock2D", c.channels.size());
  // Either one edge or [height, width]; diffusers tiles by the first.
  const bool pair = json.has("sample_size") && json.get<Json>("sample_size").is_array();
  c.sample_size = pair ? json.each<int64_t>("sample_size", 2)[0] : json.get_or<int64_t>("sample_size", 32);
  c.act = activation_named(json.get_or<std::string>("act_fn", "silu"), json.where() + " act_fn");
  c.quant = json.get_or<bool>("use_quant_conv", true);
  c.post_quant = json.get_or<bool>("use_post_quant_conv", true);
  c.mid_attention = json.get_or<bool>("mid_block_add_attention", true);
  json.get_or<bool>("force_upcast", true);
  c.scaling_factor = finite_factor(json, "scaling_factor", 0.18215);
  if (c.scaling_factor == 0) fail(ErrorCode::input, json.where() + " scaling_factor", "another number", "0");
  c.shift_factor = finite_factor(json, "shift_factor", 0);
  c.latents_mean = per_channel(json, "latents_mean", static_cast<size_t>(c.latent_channels));
  c.latents_std = per_channel(json, "latents_std", static_cast<size_t>(c.latent_channels));
  return c;
}

}  // namespace heddle
