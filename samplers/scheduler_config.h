// What a checkpoint's scheduler_config.json says, typed, with the defaults of the class it names.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "samplers/flow_shift.h"
#include "samplers/scheduler_choices.h"

namespace heddle {

struct SchedulerConfig {
  Solver solver = Solver::ddim;
  Prediction prediction = Prediction::epsilon;

  bool flow = false;  // a rectified flow: sigma is the share of noise, x = (1 - sigma) * clean + sigma * normal
  FlowShift flow_shift;
  bool stochastic = false;  // stochastic_sampling: a flow's Euler steps end in fresh noise

  bool edm = false;  // preconditioned as in Karras et al. 2022, table 1: no betas, the network is told log(sigma) / 4
  double sigma_data = 0.5;  // deviation of the data that the preconditioning counts on
  double rho = 7;           // of Karras sigmas; 7 but for EDM's classes

  int64_t num_train_timesteps = 1000;
  BetaSchedule beta_schedule = BetaSchedule::linear;
  double beta_start = 0.0001, beta_end = 0.02;
  std::vector<double> trained_betas;  // where given, instead of the three above
  bool rescale_betas_zero_snr = false;

  Spacing spacing = Spacing::leading;
  int64_t steps_offset = 0;
  bool set_alpha_to_one = true;  // the level after the last step of DDIM, PNDM and LCM: clean, or that of timestep 0
  SigmaSpacing sigma_spacing = SigmaSpacing::table;
  std::optional<double> sigma_min, sigma_max;  // ends of a Karras, exponential or beta spacing
  bool final_sigma_zero = true;                // final_sigmas_type
  bool log_linear = false;                     // interpolation_type
  bool continuous_timesteps = false;           // timestep_type, with v_prediction: the network is told log(sigma) / 4

  CleanLimit clean_limit = CleanLimit::none;
  double clip_sample_range = 1;
  double dynamic_thresholding_ratio = 0.995, sample_max_value = 1;

  double eta = 0;  // DDIM: share of DDPM's fresh noise; TCD's gamma. 0 as in diffusers' pipelines
  bool large_variance =
      false;  // DDPM's variance_type: fixed_large instead of fixed_small; their _log forms are the same
  bool skip_prk_steps = false;  // PNDM

  int solver_order = 2;  // DPM-Solver, DEIS and UniPC
  bool lower_order_final = true;
  DpmAlgorithm algorithm = DpmAlgorithm::dpmsolver_pp;
  bool heun_type = false;  // DPM-Solver's solver_type: heun instead of midpoint
  bool euler_at_final = false;
  double lambda_min_clipped = 0;           // -infinity where absent
  bool bh1 = false;                        // UniPC's solver_type: bh1 instead of bh2
  bool predict_x0 = true;                  // UniPC: solve for the clean estimate instead of the noise
  std::vector<int64_t> disable_corrector;  // UniPC: steps whose predictor is not corrected

  int64_t original_inference_steps = 50;  // LCM and TCD
  double timestep_scaling = 10;

  bool operator==(const SchedulerConfig&) const = default;
};

// `text` is the file, `where` its name for messages. `overrides` is an object with the file's keys, merged over it, and
// DDIM's and TCD's `eta`. `sampler` is empty (the file's _class_name decides) or one of sampler_names(): that solver is
// made from the same keys, as diffusers' X.from_config does; whether it solves a flow follows from the file. Keys of
// other schedulers are passed over, as there. Error(input): malformed text, an unknown key, a value that is out of
// range or not supported; Error(usage): the same of overrides and sampler.
SchedulerConfig parse_scheduler_config(std::string_view text, std::string_view where);
SchedulerConfig parse_scheduler_config(std::string_view text, std::string_view where, const nlohmann::json& overrides,
                                       std::string_view sampler);

// ddim, ddpm, pndm, lms, euler, euler_ancestral, heun, dpmpp_2m, dpmpp_2m_sde, dpmpp_2s, dpmpp_3s, deis, unipc, dpm2,
// dpm2_a, lcm, tcd; for flows only: rf2, fireflow.
std::vector<std::string> sampler_names();
// The one of them that a configuration amounts to.
std::string sampler_name(const SchedulerConfig& config);

}  // namespace heddle
