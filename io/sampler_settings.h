// The `sampler:` block of a preset: how to sample, and what it overrides in the checkpoint's scheduler_config.json.
#pragma once

#include <array>

#include "io/json.h"
#include "io/params.h"

namespace heddle {

// The keys of diffusers' scheduler_config.json under their own names; only what is given overrides.
struct SchedulerOverrides {
  std::optional<int> num_train_timesteps, steps_offset, solver_order, original_inference_steps;
  std::optional<double> beta_start, beta_end, sigma_min, sigma_max, clip_sample_range, sample_max_value;
  std::optional<double> dynamic_thresholding_ratio, lambda_min_clipped, timestep_scaling, sigma_data, rho;
  std::optional<std::vector<double>> trained_betas;
  std::optional<std::vector<int>> disable_corrector;
  std::optional<std::string> beta_schedule, prediction_type, timestep_spacing, timestep_type, interpolation_type;
  std::optional<std::string> final_sigmas_type, sigma_schedule, algorithm_type, solver_type, variance_type;
  std::optional<bool> clip_sample, set_alpha_to_one, thresholding, rescale_betas_zero_snr, skip_prk_steps;
  std::optional<bool> use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas;
  std::optional<bool> lower_order_final, euler_at_final, predict_x0;
  std::optional<double> shift, flow_shift, base_shift, max_shift, shift_terminal;  // of flow models, as those below
  std::optional<int64_t> base_image_seq_len, max_image_seq_len;
  std::optional<std::string> time_shift_type;
  std::optional<bool> use_flow_sigmas, use_dynamic_shifting, invert_sigmas, stochastic_sampling;
  static Params<SchedulerOverrides> params();
};

// Skip-layer guidance of SD3.5: beside classifier-free guidance, away from what the network says without some blocks.
struct SkipLayerSettings {
  std::vector<int> layers;
  double scale = 2.8;
  double start = 0.01, stop = 0.2;  // shares of the run between which it holds
  static Params<SkipLayerSettings> params();
};

struct SamplerSettings : SchedulerOverrides {
  std::optional<std::string> name;            // "ddim", "euler" ...; else the class in scheduler_config.json
  std::optional<int> steps;                   // else the family's own in diffusers (pipelines/defaults.h)
  std::optional<std::vector<double>> sigmas;  // of flow models, before the shift, instead of the sampler's own
  std::optional<double> guidance;             // else the family's own; of distilled models the embedded value
  std::optional<double> true_guidance;        // of distilled models: classifier-free guidance beside it
  double guidance_rescale = 0;
  std::array<double, 2> guidance_interval{0, 1};  // shares of the steps from and before which it holds
  std::optional<SkipLayerSettings> skip_layer_guidance;
  double eta = 0;
  static Params<SamplerSettings> params();
};

// {"use_karras_sigmas": true, ...}: keys of scheduler_config.json, to be laid over it.
Json scheduler_overrides(const SchedulerOverrides& overrides);

}  // namespace heddle
