// The table of places, and what follows from a place.
#include "io/checkpoint/places.h"

#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace heddle::checkpoint {
namespace {

constexpr const char* clip_mark = "text_model.embeddings.token_embedding.weight";
constexpr const char* t5_mark = "encoder.block.0.layer.0.SelfAttention.q.weight";
constexpr const char* t5_mark_of_llama = "enc.blk.0.attn_q.weight";
constexpr const char* original = "model.diffusion_model.";

constexpr Place table[] = {
    {Part::denoiser, original, "input_blocks.0.0.weight", Kind::unet},
    {Part::denoiser, original, "joint_blocks.0.x_block.attn.qkv.weight", Kind::sd3},
    {Part::denoiser, original, "double_blocks.0.img_attn.qkv.weight", Kind::flux},
    {Part::denoiser, "", "input_blocks.0.0.weight", Kind::unet},
    {Part::denoiser, "", "joint_blocks.0.x_block.attn.qkv.weight", Kind::sd3},
    {Part::denoiser, "", "double_blocks.0.img_attn.qkv.weight", Kind::flux},
    {Part::denoiser, "", "single_transformer_blocks.0.attn.norm_q.weight", Kind::flux},
    {Part::denoiser, "", "transformer_blocks.0.norm1_context.linear.weight", Kind::sd3},
    {Part::denoiser, "", "down_blocks.0.resnets.0.conv1.weight", Kind::as_is},
    {Part::vae, "first_stage_model.", "decoder.conv_in.weight", Kind::vae},
    {Part::vae, "vae.", "decoder.conv_in.weight", Kind::vae},
    {Part::vae, "", "decoder.up.0.block.0.conv1.weight", Kind::vae},
    {Part::vae, "", "decoder.up_blocks.0.resnets.0.conv1.weight", Kind::as_is},
    {Part::text_1, "cond_stage_model.transformer.", clip_mark, Kind::clip},
    {Part::text_1, "cond_stage_model.transformer.", "embeddings.token_embedding.weight", Kind::clip},
    {Part::text_1, "cond_stage_model.model.", "positional_embedding", Kind::open_clip},
    {Part::text_1, "conditioner.embedders.0.transformer.", clip_mark, Kind::clip},
    {Part::text_1, "text_encoders.clip_l.transformer.", clip_mark, Kind::clip},
    {Part::text_2, "conditioner.embedders.1.model.", "positional_embedding", Kind::open_clip},
    {Part::text_2, "conditioner.embedders.0.model.", "positional_embedding", Kind::open_clip},
    {Part::text_2, "text_encoders.clip_g.transformer.", clip_mark, Kind::clip},
    {Part::t5, "text_encoders.t5xxl.transformer.", t5_mark, Kind::t5},
    {Part::text, "", clip_mark, Kind::clip},
    {Part::text, "", "embeddings.token_embedding.weight", Kind::clip},
    {Part::text, "", "positional_embedding", Kind::open_clip},
    {Part::text, "", t5_mark, Kind::t5},
    {Part::text, "", t5_mark_of_llama, Kind::t5}};

VaeRole vae_role(const std::string& pipeline) {
  if (is_sdxl(pipeline)) return {.scaling = 0.13025, .sample_size = 1024};
  if (pipeline == sd3) return {.scaling = 1.5305, .shift = 0.0609, .sample_size = 1024};
  if (pipeline == flux) return {.scaling = 0.3611, .shift = 0.1159, .sample_size = 1024};
  return {};
}

}  // namespace

std::span<const Place> places() {
  return table;
}

TensorShapes shapes_behind(const TensorFile& file, const std::string& prefix) {
  std::map<std::string, Shape> out;
  for (auto it = file.shapes().lower_bound(prefix); it != file.shapes().end() && it->first.starts_with(prefix); ++it)
    out.emplace(it->first.substr(prefix.size()), it->second);
  return {file.path(), std::move(out)};
}

ClipRole clip_role(const std::string& component, const std::string& pipeline, Kind kind, const TensorShapes& theirs) {
  if (kind != Kind::clip && kind != Kind::open_clip) return {};
  if (pipeline.empty()) {  // a file on its own; OpenAI's encoder, the smallest, alone has the quick GELU
    const bool open = kind == Kind::open_clip;
    const bool stored = theirs.has("text_projection") || theirs.has("text_projection.weight");
    return {.projection = stored, .quick_gelu = !open && clip_width(theirs) <= 768};
  }
  const bool first = component == "text_encoder";
  return {.projection = pipeline == sd3 || (is_sdxl(pipeline) && !first),
          .quick_gelu = first && kind == Kind::clip,
          .drop_last = pipeline == sd && kind == Kind::open_clip};
}

LayerNames names_of(Kind kind, const TensorShapes& theirs, const ClipRole& role) {
  switch (kind) {
    case Kind::unet:
      return unet_names(theirs);
    case Kind::sd3:
      return sd3_names(theirs.count("joint_blocks"));
    case Kind::flux:
      return flux_names();
    case Kind::vae:
      return vae_names(theirs);
    case Kind::clip:
      return clip_names(role);
    case Kind::open_clip:
      return open_clip_names(theirs, role);
    case Kind::t5:
      return t5_names(theirs);
    case Kind::as_is:
      break;
  }
  return {};
}

nlohmann::json config_of(const Implied& from) {
  switch (from.kind) {
    case Kind::unet:
      return unet_config(from.theirs, from.pooled_width);
    case Kind::sd3:
      return sd3_config(from.ours);
    case Kind::flux:
      return flux_config(from.ours);
    case Kind::vae:
      return vae_config(from.theirs, vae_role(from.pipeline));
    case Kind::clip:
    case Kind::open_clip:
      return clip_config(from.ours, from.role);
    case Kind::t5:
      return t5_config(from.ours);
    case Kind::as_is:
      break;
  }
  fail(ErrorCode::input, from.theirs.where(), "a config.json for tensors in diffusers' layout", "none",
       "the folder that the file came in");
}

}  // namespace heddle::checkpoint
