// FLUX.1 as Black Forest Labs publish it.
#include <nlohmann/json.hpp>

#include "io/checkpoint/layouts.h"

namespace heddle {

const LayerNames& flux_names() {
  static const LayerNames names{
      {"img_in", {"x_embedder"}},
      {"txt_in", {"context_embedder"}},
      {"time_in.in_layer", {"time_text_embed.timestep_embedder.linear_1"}},
      {"time_in.out_layer", {"time_text_embed.timestep_embedder.linear_2"}},
      {"vector_in.in_layer", {"time_text_embed.text_embedder.linear_1"}},
      {"vector_in.out_layer", {"time_text_embed.text_embedder.linear_2"}},
      {"guidance_in.in_layer", {"time_text_embed.guidance_embedder.linear_1"}},
      {"guidance_in.out_layer", {"time_text_embed.guidance_embedder.linear_2"}},
      {"double_blocks.*.img_mod.lin", {"transformer_blocks.*.norm1.linear"}},
      {"double_blocks.*.txt_mod.lin", {"transformer_blocks.*.norm1_context.linear"}},
      {"double_blocks.*.img_attn.qkv",
       {"transformer_blocks.*.attn.to_q", "transformer_blocks.*.attn.to_k", "transformer_blocks.*.attn.to_v"}},
      {"double_blocks.*.txt_attn.qkv",
       {"transformer_blocks.*.attn.add_q_proj", "transformer_blocks.*.attn.add_k_proj",
        "transformer_blocks.*.attn.add_v_proj"}},
      {"double_blocks.*.img_attn.norm.query_norm.scale", {"transformer_blocks.*.attn.norm_q.weight"}},
      {"double_blocks.*.img_attn.norm.key_norm.scale", {"transformer_blocks.*.attn.norm_k.weight"}},
      {"double_blocks.*.txt_attn.norm.query_norm.scale", {"transformer_blocks.*.attn.norm_added_q.weight"}},
      {"double_blocks.*.txt_attn.norm.key_norm.scale", {"transformer_blocks.*.attn.norm_added_k.weight"}},
      {"double_blocks.*.img_attn.proj", {"transformer_blocks.*.attn.to_out.0"}},
      {"double_blocks.*.txt_attn.proj", {"transformer_blocks.*.attn.to_add_out"}},
      {"double_blocks.*.img_mlp.0", {"transformer_blocks.*.ff.net.0.proj"}},
      {"double_blocks.*.img_mlp.2", {"transformer_blocks.*.ff.net.2"}},
      {"double_blocks.*.txt_mlp.0", {"transformer_blocks.*.ff_context.net.0.proj"}},
      {"double_blocks.*.txt_mlp.2", {"transformer_blocks.*.ff_context.net.2"}},
      {"single_blocks.*.modulation.lin", {"single_transformer_blocks.*.norm.linear"}},
      {"single_blocks.*.linear1",
       {"single_transformer_blocks.*.attn.to_q", "single_transformer_blocks.*.attn.to_k",
        "single_transformer_blocks.*.attn.to_v", "single_transformer_blocks.*.proj_mlp"},
       {1, 1, 1, 4}},
      {"single_blocks.*.linear2", {"single_transformer_blocks.*.proj_out"}},
      {"single_blocks.*.norm.query_norm.scale", {"single_transformer_blocks.*.attn.norm_q.weight"}},
      {"single_blocks.*.norm.key_norm.scale", {"single_transformer_blocks.*.attn.norm_k.weight"}},
      {"final_layer.linear", {"proj_out"}},
      // Shift and scale there, scale and shift here.
      {"final_layer.adaLN_modulation.1", {"norm_out.linear"}, {}, Change::swapped_halves}};
  return names;
}

nlohmann::json flux_config(const TensorShapes& ours) {
  const int64_t doubles = ours.count("transformer_blocks"), singles = ours.count("single_transformer_blocks");
  const std::string first = doubles > 0 ? "transformer_blocks.0" : "single_transformer_blocks.0";
  const int64_t head = ours.dim(first + ".attn.norm_q.weight", 0), width = ours.dim("x_embedder.weight", 0);
  const int64_t outer = head / 16 * 2;  // of [16, 56, 56]; the rest in halves
  return {{"_class_name", "FluxTransformer2DModel"},
          {"patch_size", 1},
          {"in_channels", ours.dim("x_embedder.weight", 1)},
          {"out_channels", ours.dim("proj_out.weight", 0)},
          {"num_layers", doubles},
          {"num_single_layers", singles},
          {"attention_head_dim", head},
          {"num_attention_heads", head > 0 ? width / head : 0},
          {"joint_attention_dim", ours.dim("context_embedder.weight", 1)},
          {"pooled_projection_dim", ours.dim("time_text_embed.text_embedder.linear_1.weight", 1)},
          {"guidance_embeds", ours.any("time_text_embed.guidance_embedder.")},
          {"axes_dims_rope", {outer, (head - outer) / 2, (head - outer) / 2}}};
}

}  // namespace heddle
