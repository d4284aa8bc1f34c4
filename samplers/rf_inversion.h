// RF-Inversion: Rout et al. 2024, "Semantic Image Inversion and Editing using Rectified Stochastic Differential
// Equations". A run of Euler's method, or of any solver, whose network is drawn towards a goal.
#pragma once

#include "samplers/sampler.h"

namespace heddle {

// How strongly steps are drawn to the picture: eta * (1 - i / n)^decay for steps i of n with i from begin * n to below
// end * n, both rounded down; else 0.
struct EtaSchedule {
  double eta = 0.9;  // 0 .. 1; 1 leads straight to the picture
  double begin = 0, end = 0.25;
  double decay = 0;

  double at(int step, int steps) const;
};

// The controlled forward ODE (algorithm 1), for an inversion: v + gamma * ((noise - x) / (1 - sigma) - v), gamma 0
// .. 1. `noise` has the shape of x. `denoise` predicts a flow (Error(internal) else).
Denoise drawn_to_noise(Denoise denoise, Tensor noise, double gamma, const SchedulerConfig& config);

// The controlled reverse ODE (algorithm 2), for the run from the inverted noise: v + eta * ((x - picture) / sigma - v).
Denoise drawn_to_picture(Denoise denoise, Tensor picture, EtaSchedule eta, const SchedulerConfig& config);

}  // namespace heddle
