// SD3 and SD3.5 as Stability publish them.
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/checkpoint/layouts.h"

namespace heddle {

LayerNames sd3_names(int64_t blocks) {
  const std::string last = std::to_string(blocks - 1);
  return {{"pos_embed", {"pos_embed.pos_embed"}},
          {"x_embedder.proj", {"pos_embed.proj"}},
          {"t_embedder.mlp.0", {"time_text_embed.timestep_embedder.linear_1"}},
          {"t_embedder.mlp.2", {"time_text_embed.timestep_embedder.linear_2"}},
          {"y_embedder.mlp.0", {"time_text_embed.text_embedder.linear_1"}},
          {"y_embedder.mlp.2", {"time_text_embed.text_embedder.linear_2"}},
          {"joint_blocks.*.x_block.attn.qkv",
           {"transformer_blocks.*.attn.to_q", "transformer_blocks.*.attn.to_k", "transformer_blocks.*.attn.to_v"}},
          {"joint_blocks.*.context_block.attn.qkv",
           {"transformer_blocks.*.attn.add_q_proj", "transformer_blocks.*.attn.add_k_proj",
            "transformer_blocks.*.attn.add_v_proj"}},
          {"joint_blocks.*.x_block.attn2.qkv",
           {"transformer_blocks.*.attn2.to_q", "transformer_blocks.*.attn2.to_k", "transformer_blocks.*.attn2.to_v"}},
          {"joint_blocks.*.x_block.attn.ln_q", {"transformer_blocks.*.attn.norm_q"}},
          {"joint_blocks.*.x_block.attn.ln_k", {"transformer_blocks.*.attn.norm_k"}},
          {"joint_blocks.*.context_block.attn.ln_q", {"transformer_blocks.*.attn.norm_added_q"}},
          {"joint_blocks.*.context_block.attn.ln_k", {"transformer_blocks.*.attn.norm_added_k"}},
          {"joint_blocks.*.x_block.attn2.ln_q", {"transformer_blocks.*.attn2.norm_q"}},
          {"joint_blocks.*.x_block.attn2.ln_k", {"transformer_blocks.*.attn2.norm_k"}},
          {"joint_blocks.*.x_block.attn.proj", {"transformer_blocks.*.attn.to_out.0"}},
          {"joint_blocks.*.context_block.attn.proj", {"transformer_blocks.*.attn.to_add_out"}},
          {"joint_blocks.*.x_block.attn2.proj", {"transformer_blocks.*.attn2.to_out.0"}},
          {"joint_blocks.*.x_block.adaLN_modulation.1", {"transformer_blocks.*.norm1.linear"}},
          // Where the text ends it is only looked at: shift and scale there, scale and shift here.
          {"joint_blocks." + last + ".context_block.adaLN_modulation.1",
           {"transformer_blocks." + last + ".norm1_context.linear"},
           {},
           Change::swapped_halves},
          {"joint_blocks.*.context_block.adaLN_modulation.1", {"transformer_blocks.*.norm1_context.linear"}},
          {"joint_blocks.*.x_block.mlp.fc1", {"transformer_blocks.*.ff.net.0.proj"}},
          {"joint_blocks.*.x_block.mlp.fc2", {"transformer_blocks.*.ff.net.2"}},
          {"joint_blocks.*.context_block.mlp.fc1", {"transformer_blocks.*.ff_context.net.0.proj"}},
          {"joint_blocks.*.context_block.mlp.fc2", {"transformer_blocks.*.ff_context.net.2"}},
          {"final_layer.linear", {"proj_out"}},
          {"final_layer.adaLN_modulation.1", {"norm_out.linear"}, {}, Change::swapped_halves}};
}

nlohmann::json sd3_config(const TensorShapes& ours) {
  const int64_t layers = ours.count("transformer_blocks"), width = ours.dim("context_embedder.weight", 0);
  const std::string norm = "transformer_blocks.0.attn.norm_q.weight";
  const bool normed = ours.has(norm);
  const int64_t head = normed ? ours.dim(norm, 0) : 64, patch = ours.dim("pos_embed.proj.weight", 2);
  nlohmann::json dual = nlohmann::json::array();
  for (int64_t i = 0; i < layers; ++i) {
    if (ours.any("transformer_blocks." + std::to_string(i) + ".attn2.")) dual.push_back(i);
  }
  nlohmann::json config{{"_class_name", "SD3Transformer2DModel"},
                        {"sample_size", 128},
                        {"patch_size", patch},
                        {"in_channels", ours.dim("pos_embed.proj.weight", 1)},
                        {"out_channels", ours.dim("proj_out.weight", 0) / std::max<int64_t>(1, patch * patch)},
                        {"num_layers", layers},
                        {"attention_head_dim", head},
                        {"num_attention_heads", head > 0 ? width / head : 0},
                        {"joint_attention_dim", ours.dim("context_embedder.weight", 1)},
                        {"caption_projection_dim", width},
                        {"pooled_projection_dim", ours.dim("time_text_embed.text_embedder.linear_1.weight", 1)},
                        {"dual_attention_layers", dual},
                        {"pos_embed_max_size", 192}};
  if (normed) config["qk_norm"] = "rms_norm";
  if (ours.has("pos_embed.pos_embed")) {
    config["pos_embed_max_size"] =
        static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(ours.dim("pos_embed.pos_embed", 1)))));
  }
  return config;
}

}  // namespace heddle
