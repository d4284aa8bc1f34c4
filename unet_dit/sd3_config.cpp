// Reads and checks the configuration of SD3's transformer.
#include "unet_dit/sd3_config.h"

#include <algorithm>

#include "unet_dit/config_bounds.h"

namespace heddle {

SD3Config SD3Config::from(const Json& json) {
  json.require_known({"sample_size", "patch_size", "in_channels", "num_layers", "attention_head_dim",
                      "num_attention_heads", "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim",
                      "out_channels", "pos_embed_max_size", "dual_attention_layers", "qk_norm"});
  const std::vector<std::string> keys = json.keys();
  const auto is_null = [&](const char* key) { return !json.has(key) && std::ranges::find(keys, key) != keys.end(); };
  SD3Config c;
  c.sample_size = bounded_or(json, "sample_size", c.sample_size, 1, largest_width);
  c.patch_size = bounded_or(json, "patch_size", c.patch_size, 1, 64);
  if (c.patch_size > c.sample_size)
    refuse(json, "patch_size", "at most sample_size " + std::to_string(c.sample_size), std::to_string(c.patch_size));
  c.in_channels = bounded_or(json, "in_channels", c.in_channels, 1, largest_width);
  // A null out_channels stands for in_channels, an absent key for the default.
  if (is_null("out_channels")) c.out_channels = c.in_channels;
  c.out_channels = bounded_or(json, "out_channels", c.out_channels, 1, largest_width);
  c.num_layers = bounded_or(json, "num_layers", c.num_layers, 1, 1024);
  c.heads = bounded_or(json, "num_attention_heads", c.heads, 1, 4096);
  c.head_dim = bounded_or(json, "attention_head_dim", c.head_dim, 1, 4096);
  if (c.width() > largest_width || c.width() % 4 != 0) {
    refuse(json, "num_attention_heads",
           "heads times attention_head_dim to be at most " + std::to_string(largest_width) + " and a multiple of 4",
           std::to_string(c.width()));
  }
  c.joint_attention_dim = bounded_or(json, "joint_attention_dim", c.joint_attention_dim, 1, largest_width);
  c.pooled_projection_dim = bounded_or(json, "pooled_projection_dim", c.pooled_projection_dim, 1, largest_width);
  const int64_t caption = bounded_or(json, "caption_projection_dim", 1152, 1, largest_width);
  if (caption != c.width()) {
    refuse(json, "caption_projection_dim", std::to_string(c.width()) + ", heads times attention_head_dim",
           std::to_string(caption));
  }
  if (is_null("pos_embed_max_size")) c.pos_embed_max_size = 0;
  c.pos_embed_max_size = bounded_or(json, "pos_embed_max_size", c.pos_embed_max_size, 0, 4096);
  c.dual.assign(static_cast<size_t>(c.num_layers), false);
  if (json.has("dual_attention_layers")) {
    for (const int64_t layer : json.get<std::vector<int64_t>>("dual_attention_layers"))
      c.dual[static_cast<size_t>(bounded(json, "dual_attention_layers", layer, 0, c.num_layers - 1))] = true;
  }
  const auto norm = json.get_or<std::string>("qk_norm", "");
  c.qk_norm = norm == "rms_norm";
  if (!norm.empty() && !c.qk_norm) refuse(json, "qk_norm", "rms_norm or null", norm);
  return c;
}

}  // namespace heddle
