// A run: from noise to a picture, one visible loop per solver.
#pragma once

#include <functional>

#include "kernels/core/tensor.h"
#include "samplers/schedule.h"

namespace heddle {

// The network on x as it wants it (already scaled), f32, answering with what the config's prediction_type says, in any
// float dtype and x's shape. Guidance is the caller's business.
using Denoise = std::function<Tensor(const Tensor& x, const Evaluation& at)>;

// Called after every evaluation with the new state (at the level before evaluation at.index + 1) and the clean
// estimate; the state that it returns goes on. It may throw to end the run.
using OnStep = std::function<Tensor(const Evaluation& at, const Tensor& x, const Tensor& clean)>;

// Called before every evaluation with the state; the state that it returns takes its place.
using BeforeEvaluation = std::function<Tensor(const Evaluation& at, const Tensor& x)>;

// Standard normals, f32, of this shape.
using NoiseSource = std::function<Tensor(const Shape& shape)>;

struct Run {
  const Schedule& schedule;
  int begin = 0;                 // the first evaluation; begin_index() for image-to-image
  NoiseSource noise;             // asked where draws_noise() says so, once a step, in order
  OnStep on_step;                // may be empty
  BeforeEvaluation before = {};  // may be empty
};

// `x` f32 at the level before evaluation run.begin: normals times init_noise_sigma, or add_noise(). Returns the last
// state, f32.
Tensor sample(const Denoise& denoise, const Tensor& x, const Run& run);

// Whether the config's solver adds fresh noise at its steps.
bool draws_noise(const SchedulerConfig& config);

// The solvers, each in its file. sample() chooses among them and checks what they take for granted.
Tensor sample_ddim(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_ddpm(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_pndm(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_lcm(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_euler(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_euler_ancestral(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_heun(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_lms(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_dpm_multistep(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_dpm_singlestep(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_deis(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_unipc(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_dpm2(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_tcd(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_rf2(const Denoise& denoise, Tensor x, const Run& run);
Tensor sample_fireflow(const Denoise& denoise, Tensor x, const Run& run);

// What every solver does around its own lines.
// The state that evaluation `index` begins from.
Tensor begun(const Tensor& x, const Run& run, int index);
// What the network is shown of state x: solvers of Karras et al.'s form hand it x / sqrt(sigma^2 + 1). Differentiable.
Tensor network_input(const Schedule& schedule, const Tensor& x, int index);
// The network's answer to state x, f32.
Tensor network_output(const Denoise& denoise, const Tensor& x, const Run& run, int index);
// The network's answer is dx / dsigma itself, up to its sign.
bool names_slope(const SchedulerConfig& config);
// dx / dsigma at evaluation `index` from the network's answer to x and its clean estimate.
Tensor slope_from(const Tensor& output, const Tensor& clean, const Tensor& x, const Run& run, int index);
// The limited clean estimate from the network's answer to x.
Tensor clean_from(const Tensor& output, const Tensor& x, const Run& run, int index);
// The state after evaluation `index`, as on_step leaves it.
Tensor finished(const Tensor& x, const Tensor& clean, const Run& run, int index);
int end_of(const Run& run);

}  // namespace heddle
