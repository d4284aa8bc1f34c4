// A preset: what one run is asked to do. Every key is declared once, in preset_params.cpp; docs/presets.md is made from
// it.
#pragma once

#include "io/params.h"
#include "io/sampler_settings.h"

namespace heddle {

enum class Task : uint8_t { generate, image_to_image, inpaint, edit };
// samplers/inversion.h says what they do.
enum class InversionMethod : uint8_t { ddim, fixed_point, second_order, solver, rf_inversion, flow_edit };
enum class Rng : uint8_t { torch_cpu, torch_cuda };
enum class Precision : uint8_t { f32, bf16 };
enum class LongPrompts : uint8_t { truncate, chunks };
enum class PromptWeights : uint8_t { off, a1111 };
enum class Tiling : uint8_t { automatic, on, off };

using WidthHeight = std::array<int, 2>;  // pixels; also x, y of a corner

// pipelines/prompt_mask.h
struct PromptMaskSettings {
  double strength = 0.5;  // share of the steps that would run from the noise at which the prompts are compared
  int maps = 10;          // noises
  double thresholding_ratio = 3;
  int grow = 0;  // cells of the latents
  static Params<PromptMaskSettings> params();
};

struct SourceImage {
  std::string image, mask;                      // paths; white of the mask is repainted
  std::optional<PromptMaskSettings> find_mask;  // in place of a mask, for edit
  std::string prompt;                           // of the picture as it is, for edit
  std::optional<double> strength;               // 0 keeps the picture, 1 forgets it
  static Params<SourceImage> params();
};

// samplers/rf_inversion.h
struct RfInversionSettings {
  double gamma = 0.5, eta = 0.9;
  double start = 0, stop = 0.25;  // shares of the run in which it is drawn to the picture
  double decay = 0;
  static Params<RfInversionSettings> params();
};

// samplers/flow_edit.h
struct FlowEditSettings {
  std::optional<int> n_max;  // not given: 33 of 50 steps of SD3, 24 of 28 of FLUX
  int n_min = 0, n_avg = 1;
  static Params<FlowEditSettings> params();
};

// How task edit turns the picture into noise, or edits it without.
struct InversionSettings {
  std::optional<InversionMethod> method;  // not given: solver of flow models, fixed_point of others
  std::optional<double> guidance;         // of the source; not given: 1 of flow models, the sampler's of others
  int iterations = 10;
  bool hold = true;  // source rows follow the inverted states instead of their own
  int offset = 0;    // and are so many steps ahead of the others at first
  std::string save, load;
  std::optional<RfInversionSettings> rf_inversion;  // of those methods
  std::optional<FlowEditSettings> flow_edit;
  static Params<InversionSettings> params();
};

struct TextSettings {
  LongPrompts long_prompts = LongPrompts::truncate;
  PromptWeights weights = PromptWeights::off;
  std::optional<int> clip_skip;            // layers left out at the end, as diffusers counts them
  std::optional<int> max_sequence_length;  // of T5's text; else the family's own: SD3 256, FLUX 512, its schnell 256
  static Params<TextSettings> params();
};

// SDXL's micro-conditioning; sizes that are not given follow from `size`. Its refiner is told a score in place of the
// target size.
struct SdxlSettings {
  std::optional<WidthHeight> original_size, crop, target_size;
  std::optional<WidthHeight> negative_original_size, negative_crop, negative_target_size;
  std::optional<double> aesthetic_score, negative_aesthetic_score;  // 6 and 2.5
  static Params<SdxlSettings> params();
};

struct VaeSettings {
  std::string file;  // in place of the model's own; empty for that
  Tiling tiling = Tiling::automatic;
  static Params<VaeSettings> params();
};

struct PreviewSettings {
  int every = 5;  // steps
  std::string file = "preview.png";
  static Params<PreviewSettings> params();
};

// A file of adaptations (io/lora.h).
struct LoraSettings {
  std::string file;
  double weight = 1;
  std::optional<double> text_weight;  // of the text encoders; `weight` if not given
  static Params<LoraSettings> params();
};

// A word learned by textual inversion (io/learned_vectors.h).
struct EmbeddingSettings {
  std::string file;
  std::string token;  // the word of prompts; empty for the file's own
  static Params<EmbeddingSettings> params();
};

// A method and what it was given; the registry of methods reads `settings`.
struct AttentionEntry {
  std::string name;
  YamlNode settings;
};

struct Preset {
  int heddle = 1;  // schema version
  std::string model;
  std::string config;  // a folder as diffusers', for what a model in one file does not say
  std::string unet, transformer, text_encoder, text_encoder_2, text_encoder_3;  // in place of the model's own
  std::vector<LoraSettings> lora;
  std::vector<EmbeddingSettings> embeddings;
  Task task = Task::generate;
  OneOrMany<std::string> prompt, negative;
  std::optional<WidthHeight> size;
  int64_t seed = 0;
  Rng rng = Rng::torch_cpu;
  SamplerSettings sampler;
  std::vector<AttentionEntry> attention;
  std::optional<SourceImage> source;
  std::optional<InversionSettings> inversion;
  TextSettings text;
  SdxlSettings sdxl;
  VaeSettings vae;
  std::optional<PreviewSettings> preview;
  int images = 1;
  Precision dtype = Precision::f32;
  int threads = 0;  // 0: OMP_NUM_THREADS, or all cores
  std::optional<ByteCount> memory_budget;
  std::string noise, save_latents, save_image_tensor;  // safetensors files; empty for none
  std::string save_maps, save_losses, save_mask;       // a folder, an SVG file, a picture; empty for none
  std::string output = "output.png";
  static Params<Preset> params();
};

}  // namespace heddle
