// From prompts to what the denoiser is told: text states of one to three encoders, pooled text, sizes, embedded
// guidance.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoders/prompt.h"
#include "io/preset.h"
#include "pipelines/model.h"

namespace heddle {

// What is asked of one run, per picture.
struct TextRequest {
  std::vector<std::string> prompts;                   // one per picture
  std::optional<std::vector<std::string>> negatives;  // one per picture; not given: empty text, or SDXL's zeros
  TextSettings settings;
  bool guided = true;  // negatives are wanted
};

struct TextStates {
  Tensor text;    // [B,L,D]
  Tensor pooled;  // [B,P]; undefined in Stable Diffusion 1 and 2
};

struct EncodedText {
  TextStates cond, uncond;  // of equal length L; uncond undefined where not wanted
};

// Each distinct text is encoded once. Error(usage) as the tokenizers, PromptOptions and check_text_settings say.
EncodedText encode_text(Model& model, const TextRequest& request);

// SDXL's sizes as the network reads them: original height and width, crop top and left, then target height and width
// or, of the refiner, the aesthetic score.
struct MicroConditioning {
  WidthHeight original, crop, target;
  std::optional<double> aesthetic_score = std::nullopt;  // in place of `target`
};
Tensor time_ids(const MicroConditioning& told, int64_t rows);  // [rows,6] or [rows,5]

// The guidance of distilled models as a vector (Meng et al. 2023; LCM): sinusoids of 1000 (guidance - 1). [rows,dim]
Tensor embed_guidance(double guidance, int64_t dim, int64_t rows);

}  // namespace heddle
