// Opens the denoiser of a model, whatever its family, with what pipelines must know of it beside its interface.
#pragma once

#include <memory>
#include <string>

#include "pipelines/load_component.h"
#include "unet_dit/denoiser.h"

namespace heddle {

enum class Family : uint8_t { sd, sdxl, sd3, flux };

struct DenoiserTraits {
  int64_t in_channels = 4;      // of its latents, FLUX's before packing
  int64_t text_width = 768;     // of its text states
  int64_t patch = 1;            // edge of a token, in latents: sizes are whole multiples of it
  int64_t blocks = 0;           // that an evaluation can leave out
  int64_t guidance_dim = 0;     // LCM: length of the embedded guidance; 0: none
  bool guidance_scale = false;  // FLUX dev: told the guidance itself
  bool pooled = false;          // told the pooled text
  bool time_ids = false;        // told sizes and crops: SDXL

  bool embeds_guidance() const { return guidance_dim > 0 || guidance_scale; }
};

struct OpenDenoiser {
  std::unique_ptr<Denoiser> network;
  DenoiserTraits traits;
};

// Its folder in a model's.
inline const char* denoiser_folder(Family family) {
  return family == Family::sd || family == Family::sdxl ? "unet" : "transformer";
}

// Error(input) as the network's configuration and weights say.
OpenDenoiser open_denoiser(const ComponentSource& from, Family family, DType compute, const PartLoras& loras);

}  // namespace heddle
