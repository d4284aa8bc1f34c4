// generate, image_to_image and inpaint: a preset becomes latents and pictures.
#pragma once

#include <functional>
#include <vector>

#include "attention_control/plan/explain.h"
#include "io/image.h"
#include "io/preset.h"
#include "kernels/core/tensor.h"
#include "pipelines/guide.h"
#include "pipelines/model.h"
#include "pipelines/word_maps.h"

namespace heddle {

// What a run tells its caller, and asks of it; each may be empty. Called on the run's thread.
struct RunEvents {
  std::function<void(int done, int evaluations)> on_step;  // of an edit those of its mask and inversion, too
  std::function<void(const Image& preview)> on_preview;
  std::function<bool()> cancelled;  // asked after every step; true ends the run, keeping what is done
};

struct StageSeconds {
  double load = 0, text = 0, steps = 0, decode = 0;
};

struct RunResult {
  Preset preset;                     // resolved: sampler, steps, guidance and size as they were used
  Tensor latents;                    // [n,C,h,w] in the denoiser's scale; FLUX's packed [n,tokens,4C]
  Tensor image;                      // [n,3,H,W] in 0..1
  Tensor mask;                       // [n,1,h,w] of 0 and 1 on the latents' grid, where the preset asked to save it
  bool cancelled = false;            // latents and image are then the clean estimate of the last finished step
  std::vector<std::string> members;  // names, where a method brought the prompts; rows are member after member
  std::vector<WordMap> word_maps;    // where the preset asked to save maps
  std::vector<GuideRecord> losses;   // of guiding methods, in the order of evaluation
  StageSeconds seconds;
};

// The plan of a preset's methods, without a step being run.
struct PlanExplanation {
  std::vector<PlanRow> rows;
  std::vector<NormRow> norms;
  PlanTotals totals;
  std::string text = "no methods: every site is plain\n";
};
PlanExplanation explain_preset(const Preset& preset, const std::string& preset_path, Model& model);

// Error as the parts say; nothing is written.
RunResult generate(const Preset& preset, const std::string& preset_path, Model& model, const RunEvents& events);

}  // namespace heddle
