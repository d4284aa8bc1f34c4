// Reads and checks the UNet's configuration.
#include "unet_dit/unet_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "unet_dit/config_bounds.h"

namespace heddle {
namespace {

std::vector<int64_t> bounded(const Json& json, const std::string& key, std::vector<int64_t> values, int64_t low,
                             int64_t high) {
  for (const int64_t value : values) bounded(json, key, value, low, high);
  return values;
}

// One value for all levels, or a list with one for each.
template <typename T>
std::vector<T> per_level(const Json& json, const char* key, size_t levels, T fallback) {
  return json.has(key) ? json.each<T>(key, levels) : std::vector<T>(levels, fallback);
}

// Keys that change the network and have one supported value: what diffusers takes as "off".
void require_off(const Json& json) {
  for (const char* key :
       {"dual_cross_attention", "num_attention_heads", "cross_attention_norm", "mid_block_only_cross_attention"}) {
    if (json.has(key) && !(json.node()[key].is_boolean() && !json.get<bool>(key))) {
      refuse(json, key, "null or false", json.node()[key].dump());
    }
  }
  const auto fixed = [&](const char* key, const std::string& value) {
    if (json.get_or<std::string>(key, value) != value) refuse(json, key, value, json.get<std::string>(key));
  };
  fixed("attention_type", "default");
  fixed("time_embedding_type", "positional");
}

bool attends(const Json& json, const std::string& key, const std::string& type, const std::string& direction) {
  if (type == "CrossAttn" + direction + "Block2D") return true;
  if (type == direction + "Block2D") return false;
  refuse(json, key, "CrossAttn" + direction + "Block2D or " + direction + "Block2D", type);
}

std::vector<bool> read_blocks(const Json& json, const char* key, const std::string& direction) {
  std::vector<bool> out;
  for (const std::string& type : json.get<std::vector<std::string>>(key))
    out.push_back(attends(json, key, type, direction));
  return out;
}

UNetConfig::Mid read_mid(const Json& json) {
  // null means no mid block; an absent key means the default.
  if (json.node().contains("mid_block_type") && json.node()["mid_block_type"].is_null()) return UNetConfig::Mid::none;
  const auto type = json.get_or<std::string>("mid_block_type", "UNetMidBlock2DCrossAttn");
  if (type == "UNetMidBlock2DCrossAttn") return UNetConfig::Mid::cross_attention;
  if (type == "UNetMidBlock2D") return UNetConfig::Mid::resnets;
  refuse(json, "mid_block_type", "UNetMidBlock2DCrossAttn, UNetMidBlock2D or null", type);
}

// One entry per level; each a number, or a list with one number per resnet.
std::vector<std::vector<int64_t>> read_depths(const Json& json, const char* key, const std::vector<int64_t>& resnets) {
  std::vector<std::vector<int64_t>> out;
  const bool list = json.has(key) && json.node()[key].is_array();
  if (list && json.node()[key].size() != resnets.size()) {
    refuse(json, key, std::to_string(resnets.size()) + " entries", std::to_string(json.node()[key].size()));
  }
  for (size_t i = 0; i < resnets.size(); ++i) {
    const auto count = static_cast<size_t>(resnets[i]);
    if (!list) {
      out.emplace_back(count, json.get_or<int64_t>(key, 1));
    } else {
      const Json entry = json.get<Json>(key)[i];
      out.push_back(entry.is_array() ? entry.as<std::vector<int64_t>>()
                                     : std::vector<int64_t>(count, entry.as<int64_t>()));
    }
    if (out.back().size() < count)
      refuse(json, key, std::to_string(count) + " numbers per level", std::to_string(out.back().size()));
    bounded(json, key, out.back(), 0, 256);
  }
  return out;
}

void read_transformers(const Json& json, UNetConfig& c) {
  std::vector<int64_t> up_layers(c.layers.rbegin(), c.layers.rend());
  for (int64_t& count : up_layers) ++count;
  c.transformer_layers = read_depths(json, "transformer_layers_per_block", c.layers);
  if (json.has("reverse_transformer_layers_per_block")) {
    c.up_transformer_layers = read_depths(json, "reverse_transformer_layers_per_block", up_layers);
    return;
  }
  for (size_t i = 0; i < c.levels(); ++i) {
    const std::vector<int64_t>& down = c.transformer_layers[c.levels() - 1 - i];
    if (std::adjacent_find(down.begin(), down.end(), std::not_equal_to<>()) != down.end()) {
      refuse(json, "transformer_layers_per_block",
             "one number per level, or reverse_transformer_layers_per_block beside it", "unequal ones");
    }
    c.up_transformer_layers.emplace_back(static_cast<size_t>(up_layers[i]), down.empty() ? 1 : down[0]);
  }
}

Activation optional_activation(const Json& json, const char* key) {
  return json.has(key) ? activation_named(json.get<std::string>(key), json.where() + " " + key) : Activation::none;
}

void read_embeddings(const Json& json, UNetConfig& c) {
  c.cosine_first = json.get_or<bool>("flip_sin_to_cos", true);
  c.freq_shift = json.get_or<double>("freq_shift", 0);
  c.time_dim = bounded(json, "time_embedding_dim", json.get_or<int64_t>("time_embedding_dim", 4 * c.channels[0]), 1,
                       largest_width);
  c.time_act = optional_activation(json, "time_embedding_act_fn");
  c.time_post_act = optional_activation(json, "timestep_post_act");
  c.time_cond_dim =
      bounded(json, "time_cond_proj_dim", json.get_or<int64_t>("time_cond_proj_dim", 0), 0, largest_width);
  c.encoder_hid_dim = bounded(json, "encoder_hid_dim", json.get_or<int64_t>("encoder_hid_dim", 0), 0, largest_width);
  const auto hid_type = json.get_or<std::string>("encoder_hid_dim_type", "text_proj");
  if (hid_type != "text_proj") refuse(json, "encoder_hid_dim_type", "text_proj or null", hid_type);
  c.class_concat = json.get_or<bool>("class_embeddings_concat", false);
  c.projection_input_dim = bounded(json, "projection_class_embeddings_input_dim",
                                   json.get_or<int64_t>("projection_class_embeddings_input_dim", 0), 0, largest_width);
  c.class_count = bounded(json, "num_class_embeds", json.get_or<int64_t>("num_class_embeds", 0), 0, 1 << 24);

  using Kind = UNetConfig::ClassEmbedding;
  const auto kind = json.get_or<std::string>("class_embed_type", "");
  if (kind.empty())
    c.class_embedding = c.class_count > 0 ? Kind::table : Kind::none;
  else if (kind == "timestep")
    c.class_embedding = Kind::timestep;
  else if (kind == "identity")
    c.class_embedding = Kind::identity;
  else if (kind == "projection")
    c.class_embedding = Kind::projection;
  else if (kind == "simple_projection")
    c.class_embedding = Kind::simple_projection;
  else
    refuse(json, "class_embed_type", "timestep, identity, projection, simple_projection or null", kind);

  const auto addition = json.get_or<std::string>("addition_embed_type", "");
  if (!addition.empty() && addition != "text_time") refuse(json, "addition_embed_type", "text_time or null", addition);
  c.text_time = !addition.empty();
  if (c.text_time)
    c.addition_time_dim =
        bounded(json, "addition_time_embed_dim", json.get<int64_t>("addition_time_embed_dim"), 2, largest_width);
  const bool needs_projection =
      c.text_time || c.class_embedding == Kind::projection || c.class_embedding == Kind::simple_projection;
  if (needs_projection && c.projection_input_dim == 0) {
    refuse(json, "projection_class_embeddings_input_dim", "the width of the projected embedding", "none");
  }
}

void check_division(const Json& json, const UNetConfig& c) {
  for (size_t i = 0; i < c.levels(); ++i) {
    if (c.channels[i] % c.groups != 0) {
      refuse(json, "norm_num_groups", "a divisor of every block_out_channels",
             std::to_string(c.groups) + " for " + std::to_string(c.channels[i]));
    }
    if (c.heads[i] > c.channels[i])
      refuse(json, "attention_head_dim", "at most as many heads as channels", std::to_string(c.heads[i]));
  }
}

}  // namespace

UNetConfig UNetConfig::from(const Json& json) {
  json.require_known({"sample_size",
                      "in_channels",
                      "out_channels",
                      "center_input_sample",
                      "flip_sin_to_cos",
                      "freq_shift",
                      "down_block_types",
                      "mid_block_type",
                      "up_block_types",
                      "only_cross_attention",
                      "block_out_channels",
                      "layers_per_block",
                      "downsample_padding",
                      "mid_block_scale_factor",
                      "dropout",
                      "act_fn",
                      "norm_num_groups",
                      "norm_eps",
                      "cross_attention_dim",
                      "transformer_layers_per_block",
                      "reverse_transformer_layers_per_block",
                      "encoder_hid_dim",
                      "encoder_hid_dim_type",
                      "attention_head_dim",
                      "num_attention_heads",
                      "dual_cross_attention",
                      "use_linear_projection",
                      "class_embed_type",
                      "addition_embed_type",
                      "addition_time_embed_dim",
                      "num_class_embeds",
                      "upcast_attention",
                      "resnet_time_scale_shift",
                      "resnet_skip_time_act",
                      "resnet_out_scale_factor",
                      "time_embedding_type",
                      "time_embedding_dim",
                      "time_embedding_act_fn",
                      "timestep_post_act",
                      "time_cond_proj_dim",
                      "conv_in_kernel",
                      "conv_out_kernel",
                      "projection_class_embeddings_input_dim",
                      "attention_type",
                      "class_embeddings_concat",
                      "mid_block_only_cross_attention",
                      "cross_attention_norm",
                      "addition_embed_type_num_heads",
                      "decay",
                      "inv_gamma",
                      "min_decay",
                      "optimization_step",
                      "power",
                      "update_after_step",
                      "use_ema_warmup"});
  require_off(json);

  UNetConfig c;
  c.channels = json.has("block_out_channels") ? json.get<std::vector<int64_t>>("block_out_channels")
                                              : std::vector<int64_t>{320, 640, 1280, 1280};
  if (c.channels.empty() || c.channels.size() > 16)
    refuse(json, "block_out_channels", "1 to 16 levels", std::to_string(c.channels.size()));
  bounded(json, "block_out_channels", c.channels, 1, largest_width);
  const size_t levels = c.levels();
  c.in_channels = bounded(json, "in_channels", json.get_or<int64_t>("in_channels", 4), 1, largest_width);
  c.out_channels = bounded(json, "out_channels", json.get_or<int64_t>("out_channels", 4), 1, largest_width);
  c.center_input_sample = json.get_or<bool>("center_input_sample", false);
  c.down_attends = json.has("down_block_types") ? read_blocks(json, "down_block_types", "Down")
                                                : std::vector<bool>{true, true, true, false};
  c.up_attends = json.has("up_block_types") ? read_blocks(json, "up_block_types", "Up")
                                            : std::vector<bool>{false, true, true, true};
  for (const char* key : {"down_block_types", "up_block_types"}) {
    const size_t count = key[0] == 'd' ? c.down_attends.size() : c.up_attends.size();
    if (count != levels)
      refuse(json, key, std::to_string(levels) + " entries, as block_out_channels", std::to_string(count));
  }
  c.mid = read_mid(json);
  c.mid_scale = json.get_or<double>("mid_block_scale_factor", 1);
  c.layers = bounded(json, "layers_per_block", per_level<int64_t>(json, "layers_per_block", levels, 2), 1, 256);
  c.heads = bounded(json, "attention_head_dim", per_level<int64_t>(json, "attention_head_dim", levels, 8), 1, 4096);
  c.cross_dim = bounded(json, "cross_attention_dim", per_level<int64_t>(json, "cross_attention_dim", levels, 1280), 1,
                        largest_width);
  c.only_cross = per_level<bool>(json, "only_cross_attention", levels, false);
  c.upcast_attention = json.get_or<bool>("upcast_attention", false);
  c.downsample_padding = bounded(json, "downsample_padding", json.get_or<int64_t>("downsample_padding", 1), 0, 1);
  c.conv_in_kernel = bounded(json, "conv_in_kernel", json.get_or<int64_t>("conv_in_kernel", 3), 1, 15);
  c.conv_out_kernel = bounded(json, "conv_out_kernel", json.get_or<int64_t>("conv_out_kernel", 3), 1, 15);
  c.groups = bounded(json, "norm_num_groups", json.get_or<int64_t>("norm_num_groups", 32), 1, largest_width);
  c.eps = json.get_or<double>("norm_eps", 1e-5);
  c.act = activation_named(json.get_or<std::string>("act_fn", "silu"), json.where() + " act_fn");
  const auto shift = json.get_or<std::string>("resnet_time_scale_shift", "default");
  if (shift != "default" && shift != "scale_shift")
    refuse(json, "resnet_time_scale_shift", "default or scale_shift", shift);
  c.scale_shift = shift == "scale_shift";
  read_transformers(json, c);
  read_embeddings(json, c);
  check_division(json, c);
  return c;
}

}  // namespace heddle
