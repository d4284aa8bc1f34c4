// The one declaration of a preset's keys.
#include "io/preset.h"
#include "kernels/core/error.h"

namespace heddle {

template <>
struct ParamWords<Task> {
  static constexpr std::array<const char*, 4> words{"generate", "image_to_image", "inpaint", "edit"};
};
template <>
struct ParamWords<InversionMethod> {
  static constexpr std::array<const char*, 6> words{"ddim",   "fixed_point",  "second_order",
                                                    "solver", "rf_inversion", "flow_edit"};
};
template <>
struct ParamWords<Rng> {
  static constexpr std::array<const char*, 2> words{"torch-cpu", "torch-cuda"};
};
template <>
struct ParamWords<Precision> {
  static constexpr std::array<const char*, 2> words{"f32", "bf16"};
};
template <>
struct ParamWords<LongPrompts> {
  static constexpr std::array<const char*, 2> words{"truncate", "chunks"};
};
template <>
struct ParamWords<PromptWeights> {
  static constexpr std::array<const char*, 2> words{"off", "a1111"};
};
template <>
struct ParamWords<Tiling> {
  static constexpr std::array<const char*, 3> words{"auto", "on", "off"};
};

template <>
struct ParamType<AttentionEntry> : PlainParam {
  static std::string name() { return "map of one method"; }
  static void read(const YamlNode& node, const Limits&, AttentionEntry& out) {
    if (node.kind != YamlNode::Kind::map || node.entries.size() != 1) fail_yaml(node, "one method and its parameters");
    out = {node.entries[0].key, node.entries[0].value};
  }
  static YamlNode write(const AttentionEntry& entry) {
    YamlNode map;
    map.add(entry.name, entry.settings);
    return map;
  }
};

Params<PromptMaskSettings> PromptMaskSettings::params() {
  using M = PromptMaskSettings;
  return {opt("strength", &M::strength, range(0.001, 1), "how noisy the picture is where the prompts are compared"),
          opt("maps", &M::maps, range(1, 100), "noises over which the difference is averaged"),
          opt("thresholding_ratio", &M::thresholding_ratio, range(0.001, 1000),
              "white is where the difference is above half of this many times its mean"),
          opt("grow", &M::grow, range(0, 1000), "cells of the latents by which white grows to all sides")};
}

Params<SourceImage> SourceImage::params() {
  return {
      need("image", &SourceImage::image, "the picture to begin from: JPEG, PNG or WebP"),
      opt("mask", &SourceImage::mask, "for inpaint, and for edit where wished: white is painted anew, black is kept"),
      opt("find_mask", &SourceImage::find_mask,
          "for edit, in place of a mask: white is where the network answers the two prompts differently (DiffEdit)"),
      opt("prompt", &SourceImage::prompt, "for edit: what the picture shows; a method's source prompt if not given"),
      opt("strength", &SourceImage::strength, range(0, 1),
          "how far from the picture: 0 keeps it; without it 0.8, inpaint 1, SD3 and FLUX 0.6")};
}

Params<LoraSettings> LoraSettings::params() {
  using L = LoraSettings;
  return {need("file", &L::file, "safetensors file as PEFT, diffusers or kohya's scripts write it"),
          opt("weight", &L::weight, range(-100, 100), "how much of it; 0 for none"),
          opt("text_weight", &L::text_weight, range(-100, 100), "how much in the text encoders; weight if not given")};
}

Params<EmbeddingSettings> EmbeddingSettings::params() {
  using E = EmbeddingSettings;
  return {
      need("file", &E::file, "safetensors file of textual inversion, as diffusers or AUTOMATIC1111's web UI has it"),
      opt("token", &E::token, "the word for prompts; without it the file's own, or its name")};
}

Params<RfInversionSettings> RfInversionSettings::params() {
  using R = RfInversionSettings;
  return {opt("gamma", &R::gamma, range(0, 1), "how strongly the inversion is drawn to the seed's noise"),
          opt("eta", &R::eta, range(0, 1), "how strongly the run is drawn to the picture: 1 leads straight to it"),
          opt("start", &R::start, range(0, 1), "share of the steps from which it is"),
          opt("stop", &R::stop, range(0, 1), "share of the steps before which that ends"),
          opt("decay", &R::decay, range(0, 100), "eta falls as (1 - step / steps) to this power")};
}

Params<FlowEditSettings> FlowEditSettings::params() {
  using F = FlowEditSettings;
  return {opt("n_max", &F::n_max, range(1, 1000),
              "steps that run, counted from the picture: fewer keep more; without it 33 of 50, FLUX 24 of 28"),
          opt("n_min", &F::n_min, range(0, 1000), "how many of them, the last, sample the prompt alone"),
          opt("n_avg", &F::n_avg, range(1, 1000), "noises that a step averages over")};
}

Params<InversionSettings> InversionSettings::params() {
  using I = InversionSettings;
  return {opt("method", &I::method,
              "fixed_point reconstructs best, second_order costs two evaluations a step, ddim one; of flow models "
              "solver, their own sampler backwards (theirs if none is given), rf_inversion, and flow_edit, which "
              "inverts nothing"),
          opt("guidance", &I::guidance, at_least(0),
              "guidance under the source's prompt; without it the sampler's, of flow models 1, with flow_edit 3.5, "
              "FLUX 1.5"),
          opt("iterations", &I::iterations, range(1, 1000), "rounds of fixed_point in each step"),
          opt("hold", &I::hold, "the source follows the inverted states exactly"),
          opt("offset", &I::offset, range(0, 100000), "steps by which the held source is ahead of the others at first"),
          opt("save", &I::save, "safetensors file for the inverted states"),
          opt("load", &I::load, "such a file, in place of inverting again"),
          opt("rf_inversion", &I::rf_inversion, "of method rf_inversion"),
          opt("flow_edit", &I::flow_edit, "of method flow_edit")};
}

Params<TextSettings> TextSettings::params() {
  using T = TextSettings;
  return {opt("long_prompts", &T::long_prompts, "past 77 tokens: cut, or encode in chunks of 75"),
          opt("weights", &T::weights, "a1111: (words:1.3) weighs them; off: brackets are text"),
          opt("clip_skip", &T::clip_skip, range(0, 11), "layers of the text encoder to leave out at the end"),
          opt("max_sequence_length", &T::max_sequence_length, range(1, 512),
              "tokens that T5 reads of a prompt (SD3, FLUX); without it 256, FLUX dev 512")};
}

Params<SdxlSettings> SdxlSettings::params() {
  using S = SdxlSettings;
  const Limits pixels = range(0, 65536);
  return {opt("original_size", &S::original_size, pixels,
              "size the training picture pretends to have had, [width, height]"),
          opt("crop", &S::crop, pixels, "corner it was cropped at, [x, y]"),
          opt("target_size", &S::target_size, pixels, "size it was trained at, [width, height]"),
          opt("negative_original_size", &S::negative_original_size, pixels, "the same for the negative prompt"),
          opt("negative_crop", &S::negative_crop, pixels, "the same for the negative prompt"),
          opt("negative_target_size", &S::negative_target_size, pixels, "the same for the negative prompt"),
          opt("aesthetic_score", &S::aesthetic_score, range(0, 10),
              "how well people would rate the picture (refiner); without it 6"),
          opt("negative_aesthetic_score", &S::negative_aesthetic_score, range(0, 10),
              "the same for the negative prompt; without it 2.5")};
}

Params<VaeSettings> VaeSettings::params() {
  return {opt("file", &VaeSettings::file, "a component folder or a file, in place of the model's own"),
          opt("tiling", &VaeSettings::tiling, "decode in overlapping tiles: auto where the picture is large")};
}

Params<PreviewSettings> PreviewSettings::params() {
  return {opt("every", &PreviewSettings::every, range(1, 1000), "steps from one preview to the next"),
          opt("file", &PreviewSettings::file, "where it is written, over the one before")};
}

Params<Preset> Preset::params() {
  using P = Preset;
  return {
      need("heddle", &P::heddle, range(1, 1), "version of this format"),
      need("model", &P::model, "a model that ships with heddle, a diffusers folder, or one .safetensors or .gguf file"),
      opt("config", &P::config,
          "a diffusers folder, without weights if need be: tokenizers, schedule and configurations of a model in one "
          "file"),
      opt("unet", &P::unet, "a component folder or a file, in place of the model's own"),
      opt("transformer", &P::transformer, "a component folder or a file, in place of the model's own"),
      opt("text_encoder", &P::text_encoder, "a component folder or a file, in place of the model's own"),
      opt("text_encoder_2", &P::text_encoder_2, "a component folder or a file, in place of the model's own"),
      opt("text_encoder_3", &P::text_encoder_3, "a component folder or a file, in place of the model's own"),
      opt("lora", &P::lora,
          "adaptations (LoRA, LoHa, LoKr, whole differences) laid over the model's weights, in order"),
      opt("embeddings", &P::embeddings, "words that CLIP's text encoders learned by textual inversion"),
      opt("task", &P::task, "what to do"),
      opt("prompt", &P::prompt, "what the picture shows; a list makes one picture for each"),
      opt("negative", &P::negative, "what it does not show; one for all prompts, or as many"),
      opt("size", &P::size, range(8, 16384), "[width, height] in pixels; without it the checkpoint's own"),
      opt("seed", &P::seed, at_least(0), "seed of all noise"),
      opt("rng", &P::rng, "whose random numbers: torch on CPU or on CUDA"),
      opt("images", &P::images, range(1, 1024), "pictures for each prompt"),
      opt("sampler", &P::sampler, "how to sample"),
      opt("attention", &P::attention, "methods that control attention, in order"),
      opt("source", &P::source, "the picture that image_to_image, inpaint and edit begin from"),
      opt("inversion", &P::inversion, "for edit: how the picture becomes noise"),
      opt("text", &P::text, "how prompts are read"),
      opt("sdxl", &P::sdxl, "micro-conditioning of SDXL"),
      opt("vae", &P::vae, "the autoencoder"),
      opt("preview", &P::preview, "a rough picture while sampling"),
      opt("dtype", &P::dtype, "precision of the computation"),
      opt("threads", &P::threads, range(0, 1024), "CPU threads; 0: OMP_NUM_THREADS, or all cores"),
      opt("memory_budget", &P::memory_budget, "the run ends with exit code 4 rather than use more"),
      opt("noise", &P::noise, "safetensors file whose tensor `latents` is the initial noise"),
      opt("save_latents", &P::save_latents, "safetensors file for the final `latents`"),
      opt("save_image_tensor", &P::save_image_tensor, "safetensors file for `image`, [n,3,H,W] in 0..1"),
      opt("save_maps", &P::save_maps, "folder for where each word looked: overlays and `maps.safetensors`"),
      opt("save_losses", &P::save_losses, "SVG file for the losses of guiding methods over the steps"),
      opt("save_mask", &P::save_mask, "PNG file for the mask of source.find_mask, of the picture's size"),
      opt("output", &P::output, "the picture to write; several become NAME-0.png, NAME-1.png ..."),
  };
}

}  // namespace heddle
