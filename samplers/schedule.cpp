// Puts betas, timesteps and sigmas together into the evaluations of a run.
#include "samplers/schedule.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "samplers/betas.h"
#include "samplers/calls.h"
#include "samplers/flow_sigmas.h"
#include "samplers/sigmas.h"
#include "samplers/timesteps.h"

namespace heddle {
namespace {

// Solvers of Karras et al.'s form: x = clean + sigma * normal, scaled down for the network.
bool keeps_signal(const SchedulerConfig& config) {
  const Solver solver = config.solver;
  return config.edm || solver == Solver::euler || solver == Solver::euler_ancestral || solver == Solver::heun ||
         solver == Solver::lms || looks_at_middle(solver);
}

double sigma_of(const Schedule& schedule, int index) {
  const Level level = schedule.level(index);
  return schedule.config.flow ? level.noise : level.noise / level.signal;
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

void mark_steps(std::vector<Evaluation>& evaluations) {
  for (size_t i = 0; i < evaluations.size(); ++i) {
    Evaluation& at = evaluations[i];
    at.begins_step = i == 0 || evaluations[i - 1].step != at.step;
    at.ends_step = i + 1 == evaluations.size() || evaluations[i + 1].step != at.step;
  }
}

// The evaluations of a flow's single-step solver, from its step_sigmas.
void lay_out_flow(Schedule& schedule, Direction direction) {
  schedule.evaluations.clear();
  schedule.sigmas.clear();
  const int steps = static_cast<int>(schedule.step_sigmas.size()) - 1;
  for (const Call& call : flow_calls(schedule.config, schedule.step_sigmas)) {
    const int index = static_cast<int>(schedule.evaluations.size());
    const int step = direction == Direction::invert ? steps - 1 - call.step : call.step;
    schedule.evaluations.push_back({index, step, steps, call.stage, call.timestep, call.sigma, direction});
    schedule.sigmas.push_back(call.sigma);
  }
  schedule.sigmas.push_back(schedule.step_sigmas.back());
  mark_steps(schedule.evaluations);
}

void lay_out(Schedule& schedule, const SigmaPath& path) {
  const SchedulerConfig& config = schedule.config;
  const std::vector<double>& timesteps = path.timesteps;
  std::vector<Call> calls;
  if (config.solver == Solver::heun) {
    calls = heun_calls(timesteps);
    std::vector<double> doubled;
    for (const Call& call : calls) doubled.push_back(schedule.sigmas[static_cast<size_t>(call.step + call.stage)]);
    doubled.push_back(schedule.sigmas.back());
    schedule.sigmas = doubled;
  } else if (looks_at_middle(config.solver)) {
    calls = midpoint_calls(timesteps, path.middle_timesteps);
    schedule.sigmas.clear();
    for (const Call& call : calls)
      schedule.sigmas.push_back((call.stage == 0 ? path.sigmas : path.middles)[static_cast<size_t>(call.step)]);
    schedule.sigmas.push_back(path.sigmas.back());
  } else if (config.solver == Solver::pndm) {
    calls = pndm_calls(config, timesteps, config.num_train_timesteps / schedule.steps);
  } else {
    for (double t : timesteps) calls.push_back({t, static_cast<int>(calls.size()), 0});
  }
  for (const Call& call : calls) {
    const int index = static_cast<int>(schedule.evaluations.size());
    schedule.evaluations.push_back({.index = index,
                                    .step = call.step,
                                    .steps = static_cast<int>(timesteps.size()),
                                    .stage = call.stage,
                                    .timestep = call.timestep});
    schedule.evaluations.back().sigma = sigma_of(schedule, index);
  }
  mark_steps(schedule.evaluations);
}

Schedule flow_schedule(const SchedulerConfig& config, const StepRequest& request) {
  Schedule schedule{.config = config, .steps = request.steps};
  if (walks_on_log_snr(config.solver)) schedule.alphas_cumprod = alphas_cumprod(config);
  const SigmaPath path = flow_sigma_path(config, request, schedule.alphas_cumprod);
  schedule.step_sigmas = path.sigmas;
  schedule.sigmas = path.sigmas;
  if (walks_on_log_snr(config.solver)) {
    lay_out(schedule, path);
  } else {
    lay_out_flow(schedule, Direction::denoise);
  }
  check_levels(schedule);
  return schedule;
}

Schedule edm_schedule(const SchedulerConfig& config, int steps) {
  const SigmaPath path = edm_sigma_path(config, steps);
  Schedule schedule{.config = config, .steps = steps, .sigmas = path.sigmas};
  schedule.init_noise_sigma = std::hypot(*config.sigma_max, 1);
  lay_out(schedule, path);
  return schedule;
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
  if (config.flow) return {1 - sigma, sigma};
  if (keeps_signal(config)) return {1, sigma};
  const double signal = 1 / std::sqrt(sigma * sigma + 1);
  return {signal, sigma * signal};
}

double Schedule::half_log_snr(int index) const {
  const Level at = level(index);
  return std::log(at.signal / at.noise);
}

Schedule make_schedule(const SchedulerConfig& config, int steps) {
  return make_schedule(config, StepRequest{.steps = steps});
}

Schedule make_schedule(const SchedulerConfig& config, const StepRequest& request) {
  const int steps = request.steps;
  if (steps < 1 || steps > config.num_train_timesteps) {
    fail(ErrorCode::usage, "sampler.steps",
         "1 to " + std::to_string(config.num_train_timesteps) + " (num_train_timesteps)", std::to_string(steps));
  }
  if (config.flow) return flow_schedule(config, request);
  if (!request.sigmas.empty()) fail(ErrorCode::usage, "sampler.sigmas", "none but for flow models", "a list");

  if (config.edm) return edm_schedule(config, steps);

  Schedule schedule{.config = config, .steps = steps, .alphas_cumprod = alphas_cumprod(config)};
  SigmaPath path{{}, spaced_timesteps(config, request, schedule.alphas_cumprod)};
  if (!walks_on_timesteps(config.solver)) {
    path = sigma_path(config, steps, path.timesteps, schedule.alphas_cumprod);
    schedule.sigmas = path.sigmas;
  }
  if (!config.set_alpha_to_one) schedule.final_alpha_cumprod = schedule.alphas_cumprod.front();
  if (config.solver == Solver::ddpm) schedule.final_alpha_cumprod = 1;
  lay_out(schedule, path);
  if (keeps_signal(config)) {
    const double largest = *std::ranges::max_element(schedule.sigmas);
    schedule.init_noise_sigma = config.spacing == Spacing::leading ? std::sqrt(largest * largest + 1) : largest;
  }
  check_levels(schedule);
  return schedule;
}

std::vector<double> even_sigmas(int steps) {
  return linspace(1, 1 / static_cast<double>(steps), steps);
}

Schedule inverted(const Schedule& schedule) {
  if (!schedule.config.flow || walks_on_log_snr(schedule.config.solver) || schedule.config.stochastic) {
    fail(ErrorCode::usage, "sampler", "euler, heun, rf2 or fireflow of a flow model, without fresh noise", "another",
         "sampler: {name: rf2}");
  }
  Schedule rising = schedule;
  std::ranges::reverse(rising.step_sigmas);
  lay_out_flow(rising, Direction::invert);
  return rising;
}

int begin_index(const Schedule& schedule, double strength) {
  if (!(strength > 0 && strength <= 1))
    fail(ErrorCode::usage, "strength", "a number above 0 and at most 1", std::to_string(strength));
  const SchedulerConfig& config = schedule.config;
  const double share = schedule.steps * strength;
  const int first = config.flow ? static_cast<int>(schedule.steps - std::min<double>(share, schedule.steps))
                                : schedule.steps - std::min(static_cast<int>(share), schedule.steps);
  if (first >= schedule.steps)
    fail(ErrorCode::usage, "strength", "at least one step that runs",
         std::to_string(strength) + " of " + std::to_string(schedule.steps), "a larger strength or more steps");
  if (config.solver == Solver::fireflow && first > 0) return first + 1;  // at the middle of that step
  const bool twice = config.solver == Solver::heun || config.solver == Solver::rf2 || looks_at_middle(config.solver);
  return twice ? 2 * first : first;  // PNDM's doubled evaluation is not counted, as in diffusers
}

Tensor add_noise(const Schedule& schedule, const Tensor& clean, const Tensor& noise, int index) {
  const bool middle =
      looks_at_middle(schedule.config.solver) && schedule.evaluations[static_cast<size_t>(index)].stage == 1;
  const Level level = schedule.level(middle ? index + 1 : index);
  return weighted_sum(level.signal, clean, level.noise, noise);
}

}  // namespace heddle
