// The levels of noise that a run passes through, and what the network is told at each of its evaluations.
#pragma once

#include <vector>

#include "kernels/core/tensor.h"
#include "samplers/scheduler_config.h"

namespace heddle {

enum class Direction : uint8_t { denoise, invert };  // from noise to the picture, or back

// x = signal * clean + noise * normal.
struct Level {
  double signal = 1;
  double noise = 0;
};

// One call of the network.
struct Evaluation {
  int index = 0;  // into Schedule::evaluations
  int step = 0;   // solver step, 0 .. steps-1, counted from noise in both directions: an interval has one number
  int steps = 1;
  int stage = 0;        // evaluation within the step: 0 first, 1 second (Heun, RF2, the start of PNDM), ...
  double timestep = 0;  // what the network is told
  double sigma = 0;     // noise over signal; of flows the share of noise
  Direction direction = Direction::denoise;
  bool begins_step = true, ends_step = true;  // first and last evaluation of its step (FireFlow's steps: stage 1 alone)
};

struct Schedule {
  SchedulerConfig config;
  int steps = 0;
  std::vector<float> alphas_cumprod;    // of the training timesteps
  std::vector<Evaluation> evaluations;  // in the order of the network's calls; Heun and PNDM have more than steps
  std::vector<double> sigmas;  // of solvers that walk on sigma: one for each evaluation and one for the end; else empty
  std::vector<double> step_sigmas;  // of flows: where steps begin, and the end
  double final_alpha_cumprod = 1;   // of the end, for solvers that walk on timesteps
  double init_noise_sigma = 1;      // a run begins with standard normals times this

  // Where x stands before evaluation `index`.
  Level level(int index) const;
  // log(signal / noise) there; infinite where one of them is 0.
  double half_log_snr(int index) const;
  // alpha-bar of a training timestep; final_alpha_cumprod below 0. Error(usage) beyond the last.
  double alpha_bar(int64_t timestep) const;
};

struct StepRequest {
  int steps = 0;                    // as a user counts them, 1 .. num_train_timesteps
  std::vector<double> sigmas = {};  // of flows, before the shift: instead of the class's own, `steps` many
  int64_t image_tokens = 0;         // length of the image sequence, for a dynamic shift
  double strength = 1;              // of LCM: the share of its training schedule, up to which all steps are picked
};

// Error(usage) for a count that the solver cannot make, Error(input) for a configuration that has no such schedule.
Schedule make_schedule(const SchedulerConfig& config, const StepRequest& request);
Schedule make_schedule(const SchedulerConfig& config, int steps);

// 1, ..., 1 / steps: what pipelines of FLUX ask for, except of DPM-Solver and UniPC.
std::vector<double> even_sigmas(int steps);

// The same steps from the picture to noise, for a flow's euler, heun, rf2 and fireflow; Error(usage) for others.
Schedule inverted(const Schedule& schedule);

// The first evaluation of an image-to-image run; strength in (0, 1] is the share of steps that run, rounded down, of
// flows up. Error(usage) where none would.
int begin_index(const Schedule& schedule, double strength);

// A clean picture brought to the level before evaluation `index`; where that is the middle of a step of DPM-Solver-2,
// to the step's end, as diffusers does. clean and noise are f32 of one shape.
Tensor add_noise(const Schedule& schedule, const Tensor& clean, const Tensor& noise, int index);

}  // namespace heddle
