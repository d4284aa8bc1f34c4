// Which parts of models are found where in files: a table, and what each part is in a model of its kind.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "io/checkpoint/checkpoint_file.h"
#include "io/checkpoint/layouts.h"

namespace heddle::checkpoint {

enum class Kind : uint8_t { unet, sd3, flux, vae, clip, open_clip, t5, as_is };
// Parts of a model; `text` is a text encoder on its own, whichever it is.
enum class Part : uint8_t { denoiser, vae, text_1, text_2, t5, text };

// The classes of diffusers that run the families.
constexpr const char* sd = "StableDiffusionPipeline";
constexpr const char* sdxl = "StableDiffusionXLPipeline";
constexpr const char* sdxl_refiner = "StableDiffusionXLImg2ImgPipeline";
constexpr const char* sd3 = "StableDiffusion3Pipeline";
constexpr const char* flux = "FluxPipeline";

inline bool is_sdxl(const std::string& pipeline) {
  return pipeline == sdxl || pipeline == sdxl_refiner;
}

struct Place {
  Part part;
  const char* prefix;  // of all its tensors
  const char* mark;    // a tensor that only this kind has, behind the prefix
  Kind kind;
};

// Of each part the first that is found counts.
std::span<const Place> places();

// The component's names and shapes without its prefix.
TensorShapes shapes_behind(const TensorFile& file, const std::string& prefix);

// `pipeline` of the model that it is part of, or empty for a file on its own.
ClipRole clip_role(const std::string& component, const std::string& pipeline, Kind kind, const TensorShapes& theirs);
LayerNames names_of(Kind kind, const TensorShapes& theirs, const ClipRole& role);

struct Implied {  // what a configuration is read from
  Kind kind;
  const TensorShapes &theirs, &ours;
  ClipRole role;
  std::string pipeline;
  int64_t pooled_width = 1280;  // of the pooled text that SDXL's UNet is told
};
nlohmann::json config_of(const Implied& from);

}  // namespace heddle::checkpoint
