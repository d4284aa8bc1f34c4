// The text encoders: CLIP of OpenAI and of OpenCLIP, T5's encoder.
#include <nlohmann/json.hpp>

#include "io/checkpoint/layouts.h"

namespace heddle {
namespace {

int64_t divided(int64_t width, int64_t head) {
  return std::max<int64_t>(1, width / head);
}

}  // namespace

LayerNames clip_names(const ClipRole& role) {
  LayerNames names{{"logit_scale", {}}};
  if (!role.projection) names.push_back({"text_projection", {}});
  return names;
}

LayerNames open_clip_names(const TensorShapes& theirs, const ClipRole& role) {
  const std::string layer = "text_model.encoder.layers.*.", block = "transformer.resblocks.*.";
  LayerNames names = clip_names(role);
  if (role.drop_last) {
    names.push_back({"transformer.resblocks." + std::to_string(theirs.count("transformer.resblocks") - 1), {}});
  }
  for (const std::string kind : {"weight", "bias"}) {
    names.push_back(
        {block + "attn.in_proj_" + kind,
         {layer + "self_attn.q_proj." + kind, layer + "self_attn.k_proj." + kind, layer + "self_attn.v_proj." + kind}});
  }
  const LayerNames same{{"positional_embedding", {"text_model.embeddings.position_embedding.weight"}},
                        {"token_embedding", {"text_model.embeddings.token_embedding"}},
                        {"ln_final", {"text_model.final_layer_norm"}},
                        {"text_projection", {"text_projection.weight"}, {}, Change::transposed},
                        {block + "attn.out_proj", {layer + "self_attn.out_proj"}},
                        {block + "ln_1", {layer + "layer_norm1"}},
                        {block + "ln_2", {layer + "layer_norm2"}},
                        {block + "mlp.c_fc", {layer + "mlp.fc1"}},
                        {block + "mlp.c_proj", {layer + "mlp.fc2"}}};
  names.insert(names.end(), same.begin(), same.end());
  return names;
}

int64_t clip_width(const TensorShapes& ours) {
  return ours.dim((ours.any("text_model.") ? "text_model." : "") + std::string("embeddings.token_embedding.weight"), 1);
}

nlohmann::json clip_config(const TensorShapes& ours, const ClipRole& role) {
  const std::string model = ours.any("text_model.") ? "text_model." : "", layers = model + "encoder.layers";
  const std::string tokens = model + "embeddings.token_embedding.weight";
  const int64_t width = clip_width(ours);
  const bool stored = ours.has("text_projection.weight");  // without it the states are pooled as they are
  return {{"architectures", {role.projection ? "CLIPTextModelWithProjection" : "CLIPTextModel"}},
          {"vocab_size", ours.dim(tokens, 0)},
          {"hidden_size", width},
          {"max_position_embeddings", ours.dim(model + "embeddings.position_embedding.weight", 0)},
          {"num_hidden_layers", ours.count(layers)},
          {"intermediate_size", ours.dim(layers + ".0.mlp.fc1.weight", 0)},
          {"num_attention_heads", divided(width, 64)},
          {"projection_dim", stored ? ours.dim("text_projection.weight", 0) : width},
          {"hidden_act", role.quick_gelu ? "quick_gelu" : "gelu"},
          {"eos_token_id", 2}};  // the largest id ends a text, as these files' own configurations say
}

LayerNames t5_names(const TensorShapes& theirs) {
  const std::string block = "enc.blk.*.", attending = "encoder.block.*.layer.0.", feeding = "encoder.block.*.layer.1.",
                    attention = attending + "SelfAttention.", dense = feeding + "DenseReluDense.";
  const bool gated = theirs.has("enc.blk.0.ffn_gate.weight");
  return {{"token_embd", {"shared"}},
          {block + "attn_norm", {attending + "layer_norm"}},
          {block + "attn_q", {attention + "q"}},
          {block + "attn_k", {attention + "k"}},
          {block + "attn_v", {attention + "v"}},
          {block + "attn_o", {attention + "o"}},
          {block + "attn_rel_b", {attention + "relative_attention_bias"}},
          {block + "ffn_norm", {feeding + "layer_norm"}},
          {block + "ffn_gate", {dense + "wi_0"}},
          {block + "ffn_up", {dense + (gated ? "wi_1" : "wi")}},
          {block + "ffn_down", {dense + "wo"}},
          {"enc.output_norm", {"encoder.final_layer_norm"}}};
}

nlohmann::json t5_config(const TensorShapes& ours) {
  const std::string tokens = ours.has("shared.weight") ? "shared.weight" : "encoder.embed_tokens.weight";
  const std::string attention = "encoder.block.0.layer.0.SelfAttention.",
                    inner = "encoder.block.0.layer.1.DenseReluDense.";
  const int64_t heads = ours.dim(attention + "relative_attention_bias.weight", 1);
  const bool gated = ours.has(inner + "wi_0.weight");
  return {{"architectures", {"T5EncoderModel"}},
          {"vocab_size", ours.dim(tokens, 0)},
          {"d_model", ours.dim(tokens, 1)},
          {"num_heads", heads},
          {"d_kv", heads > 0 ? ours.dim(attention + "q.weight", 0) / heads : 0},
          {"d_ff", ours.dim(inner + (gated ? "wi_0.weight" : "wi.weight"), 0)},
          {"num_layers", ours.count("encoder.block")},
          {"relative_attention_num_buckets", ours.dim(attention + "relative_attention_bias.weight", 0)},
          {"feed_forward_proj", gated ? "gated-gelu" : "relu"}};
}

}  // namespace heddle
