// Puts betas, timesteps and sigmas together into the evaluations of a run.
#include "samplers/schedule.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "samplers/betas.h"
#include "samplers/sigmas.h"
#include "samplers/timesteps.h"

namespace heddle {
namespace {

bool walks_on_timesteps(Solver solver) {
  return solver == Solver::ddim || solver == Solver::ddpm || solver == Solver::pndm || solver == Solver::lcm;
}

// Solvers of Karras et al.'s form: x = clean + sigma * normal, scaled down for the network.
bool keeps_signal(Solver solver) {
  return solver == Solver::euler || solver == Solver::euler_ancestral || solver == Solver::heun ||
         solver == Solver::lms;
}

struct Call {
  double timestep = 0;
  int step = 0;
  int stage = 0;
};

// Each step but the last looks a second time where the first look led (Karras et al. 2022, algorithm 1).
std::vector<Call> heun_calls(const std::vector<double>& timesteps) {
  std::vector<Call> calls;
  const int count = static_cast<int>(timesteps.size());
  for (int i = 0; i < count; ++i) {
    if (i > 0) calls.push_back({timesteps[i], i - 1, 1});
    calls.push_back({timesteps[i], i, 0});
  }
  return calls;
}

// Liu et al. 2022: either three Runge-Kutta steps of four evaluations, at half steps of `ratio`, then linear multistep;
// or, for skip_prk_steps, linear multistep whose first step is improved by an evaluation at its end.
std::vector<Call> pndm_calls(const SchedulerConfig& config, const std::vector<double>& timesteps, int64_t ratio) {
  std::vector<Call> calls;
  const int count = static_cast<int>(timesteps.size());
  if (config.skip_prk_steps) {
    for (int i = 0; i < count; ++i) {
      if (i == 1) calls.push_back({timesteps[1], 0, 1});
      calls.push_back({timesteps[i], i, 0});
    }
    return calls;
  }
  if (count < 4)
    fail(ErrorCode::usage, "sampler.steps", "at least 4 for pndm with Runge-Kutta steps", std::to_string(count),
         "skip_prk_steps: true");
  const double half = static_cast<double>(ratio / 2);
  for (int i = 0; i < 3; ++i) {
    calls.push_back({timesteps[i], i, 0});
    calls.push_back({timesteps[i + 1] + half, i, 1});
    calls.push_back({timesteps[i + 1] + half, i, 2});
    calls.push_back({timesteps[i + 1], i, 3});
  }
  for (int i = 3; i < count; ++i) calls.push_back({timesteps[i], i, 0});
  return calls;
}

double ratio_of(Level level) {
  return level.noise / level.signal;
}

// A network that predicts noise says nothing about the clean picture where there is no signal.
void check_levels(const Schedule& schedule) {
  for (const Evaluation& at : schedule.evaluations) {
    const Level level = schedule.level(at.index);
    if (!(level.noise > 0)) {
      fail(ErrorCode::input, "scheduler", "noise at every step", "none at timestep " + std::to_string(at.timestep),
           "other betas");
    }
    if (!(level.signal > 0) && schedule.config.prediction == Prediction::epsilon) {
      fail(ErrorCode::input, "scheduler", "prediction_type v_prediction or sample where a step has zero signal",
           "epsilon at timestep " + std::to_string(at.timestep), "rescale_betas_zero_snr: false");
    }
  }
}

}  // namespace

double Schedule::alpha_bar(int64_t timestep) const {
  if (timestep < 0) return final_alpha_cumprod;
  if (timestep >= static_cast<int64_t>(alphas_cumprod.size())) {
    fail(ErrorCode::usage, "sampler.steps", "timesteps below " + std::to_string(alphas_cumprod.size()),
         std::to_string(timestep), "fewer steps or a smaller steps_offset");
  }
  return alphas_cumprod[static_cast<size_t>(timestep)];
}

Level Schedule::level(int index) const {
  if (walks_on_timesteps(config.solver)) {
    const double a = alpha_bar(static_cast<int64_t>(evaluations[static_cast<size_t>(index)].timestep));
    return {std::sqrt(a), std::sqrt(1 - a)};
  }
  const double sigma = sigmas[static_cast<size_t>(index)];
  if (keeps_signal(config.solver)) return {1, sigma};
  const double signal = 1 / std::sqrt(sigma * sigma + 1);
  return {signal, sigma * signal};
}

Schedule make_schedule(const SchedulerConfig& config, int steps) {
  if (steps < 1 || steps > config.num_train_timesteps) {
    fail(ErrorCode::usage, "sampler.steps",
         "1 to " + std::to_string(config.num_train_timesteps) + " (num_train_timesteps)", std::to_string(steps));
  }
  Schedule schedule{.config = config, .steps = steps, .alphas_cumprod = alphas_cumprod(config)};
  std::vector<double> timesteps = spaced_timesteps(config, steps, schedule.alphas_cumprod);
  if (!walks_on_timesteps(config.solver)) {
    SigmaPath path = sigma_path(config, steps, timesteps, schedule.alphas_cumprod);
    timesteps = path.timesteps;
    schedule.sigmas = path.sigmas;
  }
  if (!config.set_alpha_to_one) schedule.final_alpha_cumprod = schedule.alphas_cumprod.front();
  if (config.solver == Solver::ddpm) schedule.final_alpha_cumprod = 1;

  std::vector<Call> calls;
  if (config.solver == Solver::heun) {
    calls = heun_calls(timesteps);
    std::vector<double> doubled;
    for (const Call& call : calls) doubled.push_back(schedule.sigmas[static_cast<size_t>(call.step + call.stage)]);
    doubled.push_back(schedule.sigmas.back());
    schedule.sigmas = doubled;
  } else if (config.solver == Solver::pndm) {
    calls = pndm_calls(config, timesteps, config.num_train_timesteps / steps);
  } else {
    for (double t : timesteps) calls.push_back({t, static_cast<int>(calls.size()), 0});
  }
  for (const Call& call : calls) {
    const int index = static_cast<int>(schedule.evaluations.size());
    schedule.evaluations.push_back(
        {index, call.step, static_cast<int>(timesteps.size()), call.stage, call.timestep, 0});
    schedule.evaluations.back().sigma = ratio_of(schedule.level(index));
  }
  if (keeps_signal(config.solver)) {
    const double largest = *std::ranges::max_element(schedule.sigmas);
    schedule.init_noise_sigma = config.spacing == Spacing::leading ? std::sqrt(largest * largest + 1) : largest;
  }
  check_levels(schedule);
  return schedule;
}

int begin_index(const Schedule& schedule, double strength) {
  if (!(strength > 0 && strength <= 1))
    fail(ErrorCode::usage, "strength", "a number above 0 and at most 1", std::to_string(strength));
  const int runs = std::min(static_cast<int>(schedule.steps * strength), schedule.steps);
  if (runs < 1)
    fail(ErrorCode::usage, "strength", "at least one step that runs",
         std::to_string(strength) + " of " + std::to_string(schedule.steps), "a larger strength or more steps");
  const int order =
      schedule.config.solver == Solver::heun ? 2 : 1;  // PNDM's doubled evaluation is not counted, as in diffusers
  return (schedule.steps - runs) * order;
}

Tensor add_noise(const Schedule& schedule, const Tensor& clean, const Tensor& noise, int index) {
  const Level level = schedule.level(index);
  return weighted_sum(level.signal, clean, level.noise, noise);
}

}  // namespace heddle
