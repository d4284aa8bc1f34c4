// The UNet of Stable Diffusion 1, 2 and XL: a list of input blocks, a middle block and a list of output blocks, each
// with a residual block at place 0 and perhaps a transformer at place 1.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/checkpoint/layouts.h"
#include "io/original_names.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

using Depths = std::vector<std::vector<int64_t>>;  // of each level, of each residual block: layers of its transformer

struct Structure {
  std::vector<int64_t> channels;
  int64_t layers = 0;  // residual blocks of a level of the way down
  Depths down, up;     // 0: no transformer
  int64_t middle = 0;
  size_t levels() const { return channels.size(); }
};

std::string input(int64_t i) {
  return "input_blocks." + std::to_string(i);
}

int64_t depth_of(const TensorShapes& theirs, const std::string& block) {
  return theirs.count(block + ".1.transformer_blocks");
}

void read_down(const TensorShapes& theirs, Structure& s) {
  bool begins = true;
  for (int64_t i = 1; theirs.any(input(i) + ".0."); ++i) {
    if (theirs.has(input(i) + ".0.op.weight")) {
      begins = true;
      continue;
    }
    if (begins) {
      s.channels.push_back(theirs.dim(input(i) + ".0.out_layers.3.weight", 0));
      s.down.emplace_back();
    }
    begins = false;
    s.down.back().push_back(depth_of(theirs, input(i)));
  }
}

Structure read_structure(const TensorShapes& theirs) {
  Structure s;
  read_down(theirs, s);
  const auto uneven = [&](const auto& level) { return level.size() != s.down[0].size(); };
  if (s.levels() == 0 || std::ranges::any_of(s.down, uneven))
    fail(ErrorCode::input, theirs.where(), "a UNet whose levels have one number of residual blocks", "another");
  s.layers = static_cast<int64_t>(s.down[0].size());
  for (size_t level = 0; level < s.levels(); ++level) {
    s.up.emplace_back();
    for (int64_t i = 0; i <= s.layers; ++i) {
      const int64_t at = static_cast<int64_t>(level) * (s.layers + 1) + i;
      s.up.back().push_back(depth_of(theirs, "output_blocks." + std::to_string(at)));
    }
  }
  s.middle = depth_of(theirs, "middle_block");
  return s;
}

bool attends(const std::vector<int64_t>& depths) {
  return std::ranges::any_of(depths, [](int64_t d) { return d > 0; });
}

// Every name is asked of original_unet_layer, which knows the arithmetic of the places.
class NamesBuilder {
 public:
  NamesBuilder(LayerNames& names, const Structure& s) : names_(names), layers_(static_cast<int>(s.layers)) {}

  void add(const std::string& ours, bool attends = false) {
    if (const auto theirs = original_unet_layer(ours, attends, layers_)) names_.push_back({*theirs, {ours}});
  }
  void add_resnet(const std::string& ours) {
    for (const char* part : {".norm1", ".conv1", ".time_emb_proj", ".norm2", ".conv2", ".conv_shortcut"})
      add(ours + part);
  }
  // Inside a transformer the names are the same, so its own name is all that changes.
  void add_transformer(const std::string& ours) {
    const std::string inside = ".inside";
    if (auto theirs = original_unet_layer(ours + inside, true, layers_))
      names_.push_back({theirs->substr(0, theirs->size() - inside.size()), {ours}});
  }
  void add_level(const std::string& block, const std::vector<int64_t>& depths, const std::string& sampler) {
    for (size_t i = 0; i < depths.size(); ++i) {
      add_resnet(block + ".resnets." + std::to_string(i));
      if (depths[i] > 0) add_transformer(block + ".attentions." + std::to_string(i));
    }
    if (!sampler.empty()) add(block + "." + sampler + ".0.conv", attends(depths));
  }

 private:
  LayerNames& names_;
  int layers_;
};

// Width of the text's states.
int64_t text_width(const TensorShapes& theirs, const std::string& transformer) {
  return theirs.dim(transformer + ".transformer_blocks.0.attn2.to_k.weight", 1);
}

// What follows from how attention is wired: SD1 has eight heads everywhere, its successors heads of 64.
nlohmann::json heads_of(const Structure& s, bool linear) {
  nlohmann::json heads = nlohmann::json::array();
  for (const int64_t width : s.channels) heads.push_back(linear ? std::max<int64_t>(1, width / 64) : 8);
  return heads;
}

// The first transformer's place.
std::string first_transformer(const TensorShapes& theirs) {
  for (int64_t i = 1; theirs.any(input(i) + ".0."); ++i) {
    if (theirs.any(input(i) + ".1.transformer_blocks.")) return input(i) + ".1";
  }
  return "middle_block.1";
}

void add_depths(nlohmann::json& config, const Structure& s) {
  nlohmann::json plain = nlohmann::json::array(), down = plain, up = plain;
  bool mirrored = true;
  for (size_t level = 0; level < s.levels(); ++level) {
    const bool last = level + 1 == s.levels();
    const int64_t depth = attends(s.down[level]) ? s.down[level][0] : last ? s.middle : 1;
    plain.push_back(depth);
    down.push_back(attends(s.down[level]) ? s.down[level] : std::vector<int64_t>(s.down[level].size(), depth));
    up.push_back(s.up[level]);
    const std::vector<int64_t>& opposite = s.up[s.levels() - 1 - level];
    const auto other = [&](int64_t d) { return d != depth; };
    mirrored &= !attends(s.down[level]) || std::ranges::none_of(s.down[level], other);
    mirrored &= !attends(opposite) || std::ranges::none_of(opposite, other);
  }
  config["transformer_layers_per_block"] = mirrored ? plain : down;
  if (!mirrored) config["reverse_transformer_layers_per_block"] = up;
}

nlohmann::json block_types(const Depths& levels, const std::string& direction) {
  nlohmann::json types = nlohmann::json::array();
  for (const auto& depths : levels) types.push_back((attends(depths) ? "CrossAttn" : "") + direction + "Block2D");
  return types;
}

}  // namespace

bool is_refiner(const TensorShapes& theirs, int64_t pooled_width) {
  return theirs.any("label_emb.0.0.") && text_width(theirs, first_transformer(theirs)) == pooled_width;
}

LayerNames unet_names(const TensorShapes& theirs) {
  const Structure s = read_structure(theirs);
  LayerNames names{{"time_embed.cond_proj", {"time_embedding.cond_proj"}}};
  NamesBuilder builder(names, s);
  for (const char* layer : {"conv_in", "time_embedding.linear_1", "time_embedding.linear_2", "add_embedding.linear_1",
                            "add_embedding.linear_2", "conv_norm_out", "conv_out"})
    builder.add(layer);
  for (size_t level = 0; level < s.levels(); ++level) {
    const bool last = level + 1 == s.levels();
    builder.add_level("down_blocks." + std::to_string(level), s.down[level], last ? "" : "downsamplers");
    builder.add_level("up_blocks." + std::to_string(level), s.up[level], last ? "" : "upsamplers");
  }
  builder.add_resnet("mid_block.resnets.0");
  builder.add_transformer("mid_block.attentions.0");
  builder.add_resnet("mid_block.resnets.1");
  return names;
}

nlohmann::json unet_config(const TensorShapes& theirs, int64_t pooled_width) {
  const Structure s = read_structure(theirs);
  const std::string transformer = first_transformer(theirs), guidance = "time_embed.cond_proj.weight";
  const bool linear = theirs.rank(transformer + ".proj_in.weight") == 2, sizes = theirs.any("label_emb.0.0.");
  nlohmann::json config{{"_class_name", "UNet2DConditionModel"},
                        {"sample_size", sizes    ? 128
                                        : linear ? 96
                                                 : 64},
                        {"in_channels", theirs.dim("input_blocks.0.0.weight", 1)},
                        {"out_channels", theirs.dim("out.2.weight", 0)},
                        {"block_out_channels", s.channels},
                        {"layers_per_block", s.layers},
                        {"down_block_types", block_types(s.down, "Down")},
                        {"up_block_types", block_types(s.up, "Up")},
                        {"cross_attention_dim", text_width(theirs, transformer)},
                        {"attention_head_dim", heads_of(s, linear)},
                        {"use_linear_projection", linear},
                        {"upcast_attention", linear && !sizes}};
  add_depths(config, s);
  if (theirs.has(guidance)) config["time_cond_proj_dim"] = theirs.dim(guidance, 1);
  if (!sizes) return config;
  const int64_t input = theirs.dim("label_emb.0.0.weight", 1);  // the pooled text and six sizes, or four and a score
  config["addition_embed_type"] = "text_time";
  config["projection_class_embeddings_input_dim"] = input;
  config["addition_time_embed_dim"] = (input - pooled_width) / (is_refiner(theirs, pooled_width) ? 5 : 6);
  return config;
}

}  // namespace heddle
