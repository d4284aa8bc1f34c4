// FlowEdit: Kulikov et al. 2024, "FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models". A path
// from a picture to its edited form, along the difference of two velocities.
#pragma once

#include "samplers/sampler.h"

namespace heddle {

struct FlowEditRun {
  const Schedule& schedule;  // a flow's, of the solver euler without fresh noise
  int n_max = 33;       // steps that run, counted from the picture; 1 .. steps (33 of 50 for SD3, 24 of 28 for FLUX)
  int n_min = 0;        // how many of them, the last, sample the target alone; 0 .. n_max
  int n_avg = 1;        // noises that a step averages over
  NoiseSource noise;    // asked n_avg times a step, and once where sampling of the target begins
  Denoise target = {};  // the target alone, [n,...]: asked in the last n_min steps; empty: `denoise` is
  OnStep on_step = {};  // with the edited picture as it stands; in the last n_min steps with the noisy state
};

// `picture` f32 [n,...] -> the edited one. `denoise` is given [2n,...], first the noisy source, then the target, and
// answers both, each under its own prompt and guidance. Error(usage) for counts out of range or another solver.
Tensor flow_edit(const Denoise& denoise, const Tensor& picture, const FlowEditRun& run);

}  // namespace heddle
