// What a preset leaves open, and what it asks of guidance, for the model at hand.
#pragma once

#include "io/preset.h"
#include "pipelines/guidance.h"
#include "pipelines/model.h"

namespace heddle {

// Steps and guidance as the model's folder advises (ModelFiles::advice), else they and strength as the family's
// pipeline in diffusers has them. FLUX schnell, which has no guidance, gets the value 0.
void fill_defaults(Preset& preset, Model& model);

// The same of task edit's inversion, of which every value is given afterwards. `flow`: the model is one. Error(usage)
// for guidance where the model has no use for it.
void fill_inversion(Preset& preset, Model& model, bool flow);

// Classifier-free guidance of a filled preset: of models whose guidance is embedded, or that have none, that which
// `true_guidance` asks for. Error(usage) for settings that the model has no use for.
Guidance guidance_of(const Preset& preset, Model& model);

}  // namespace heddle
