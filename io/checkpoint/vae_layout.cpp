// The autoencoder of latent diffusion, as every family publishes it.
#include <nlohmann/json.hpp>

#include "io/checkpoint/layouts.h"

namespace heddle {
namespace {

void add_attention(LayerNames& names, const std::string& theirs, const std::string& ours) {
  for (const auto& [from, to] :
       {std::pair{"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}}) {
    names.push_back({theirs + "." + from, {ours + "." + to}});
  }
}

void add_resnet(LayerNames& names, const std::string& theirs, const std::string& ours) {
  names.push_back({theirs + ".nin_shortcut", {ours + ".conv_shortcut"}});
  names.push_back({theirs, {ours}});
}

}  // namespace

LayerNames vae_names(const TensorShapes& theirs) {
  LayerNames names{{"loss", {}}, {"model_ema", {}}};  // left behind by training
  for (const std::string half : {"encoder", "decoder"}) {
    names.push_back({half + ".norm_out", {half + ".conv_norm_out"}});
    add_resnet(names, half + ".mid.block_1", half + ".mid_block.resnets.0");
    add_resnet(names, half + ".mid.block_2", half + ".mid_block.resnets.1");
    add_attention(names, half + ".mid.attn_1", half + ".mid_block.attentions.0");
  }
  add_resnet(names, "encoder.down.*.block.*", "encoder.down_blocks.*.resnets.*");
  add_attention(names, "encoder.down.*.attn.*", "encoder.down_blocks.*.attentions.*");
  names.push_back({"encoder.down.*.downsample.conv", {"encoder.down_blocks.*.downsamplers.0.conv"}});
  const int64_t levels = theirs.count("decoder.up");
  for (int64_t i = 0; i < levels; ++i) {  // numbered from the picture there, from the latents here
    const std::string up = "decoder.up." + std::to_string(i);
    const std::string ours = "decoder.up_blocks." + std::to_string(levels - 1 - i);
    add_resnet(names, up + ".block.*", ours + ".resnets.*");
    add_attention(names, up + ".attn.*", ours + ".attentions.*");
    names.push_back({up + ".upsample.conv", {ours + ".upsamplers.0.conv"}});
  }
  return names;
}

nlohmann::json vae_config(const TensorShapes& theirs, const VaeRole& role) {
  nlohmann::json channels = nlohmann::json::array(), down = channels, up = channels;
  const int64_t levels = theirs.count("encoder.down");
  for (int64_t i = 0; i < levels; ++i) {
    const std::string at = std::to_string(i), mirrored = std::to_string(levels - 1 - i);
    channels.push_back(theirs.dim("encoder.down." + at + ".block.0.conv1.weight", 0));
    down.push_back(theirs.any("encoder.down." + at + ".attn.") ? "AttnDownEncoderBlock2D" : "DownEncoderBlock2D");
    up.push_back(theirs.any("decoder.up." + mirrored + ".attn.") ? "AttnUpDecoderBlock2D" : "UpDecoderBlock2D");
  }
  return {{"_class_name", "AutoencoderKL"},
          {"in_channels", theirs.dim("encoder.conv_in.weight", 1)},
          {"out_channels", theirs.dim("decoder.conv_out.weight", 0)},
          {"latent_channels", theirs.dim("decoder.conv_in.weight", 1)},
          {"block_out_channels", channels},
          {"down_block_types", down},
          {"up_block_types", up},
          {"layers_per_block", theirs.count("encoder.down.0.block")},
          {"use_quant_conv", theirs.any("quant_conv.")},
          {"use_post_quant_conv", theirs.any("post_quant_conv.")},
          {"mid_block_add_attention", theirs.any("decoder.mid.attn_1.")},
          {"sample_size", role.sample_size},
          {"scaling_factor", role.scaling},
          {"shift_factor", role.shift}};
}

}  // namespace heddle
