// Reads and checks the configuration of FLUX.
#include "unet_dit/flux_config.h"

#include <numeric>

#include "unet_dit/config_bounds.h"

namespace heddle {

FluxConfig FluxConfig::from(const Json& json) {
  json.require_known({"patch_size", "in_channels", "out_channels", "num_layers", "num_single_layers",
                      "attention_head_dim", "num_attention_heads", "joint_attention_dim", "pooled_projection_dim",
                      "guidance_embeds", "axes_dims_rope"});
  FluxConfig c;
  c.patch_size = bounded_or(json, "patch_size", c.patch_size, 1, 64);
  c.in_channels = bounded_or(json, "in_channels", c.in_channels, 1, largest_width);
  c.out_channels = bounded_or(json, "out_channels", c.in_channels, 1, largest_width);
  c.num_layers = bounded_or(json, "num_layers", c.num_layers, 0, 1024);
  c.num_single_layers = bounded_or(json, "num_single_layers", c.num_single_layers, 0, 1024);
  c.heads = bounded_or(json, "num_attention_heads", c.heads, 1, 4096);
  c.head_dim = bounded_or(json, "attention_head_dim", c.head_dim, 2, 4096);
  if (c.width() > largest_width) {
    refuse(json, "num_attention_heads", "heads times attention_head_dim to be at most " + std::to_string(largest_width),
           std::to_string(c.width()));
  }
  c.joint_attention_dim = bounded_or(json, "joint_attention_dim", c.joint_attention_dim, 1, largest_width);
  c.pooled_projection_dim = bounded_or(json, "pooled_projection_dim", c.pooled_projection_dim, 1, largest_width);
  c.guidance_embeds = json.get_or<bool>("guidance_embeds", false);
  if (json.has("axes_dims_rope")) c.axes_dims_rope = json.get<std::vector<int64_t>>("axes_dims_rope");
  const size_t axes = c.axes_dims_rope.size();
  if (axes < 2 || axes > 8)
    refuse(json, "axes_dims_rope", "2 to 8 axes, the last two rows and columns", std::to_string(axes));
  for (const int64_t dim : c.axes_dims_rope) {
    bounded(json, "axes_dims_rope", dim, 0, 4096);
    if (dim % 2 != 0) refuse(json, "axes_dims_rope", "even numbers of features", std::to_string(dim));
  }
  const int64_t sum = std::accumulate(c.axes_dims_rope.begin(), c.axes_dims_rope.end(), int64_t{0});
  if (sum != c.head_dim)
    refuse(json, "axes_dims_rope", "a sum of " + std::to_string(c.head_dim) + ", attention_head_dim",
           std::to_string(sum));
  return c;
}

}  // namespace heddle
