// Declarations of the `sampler:` block.
#include "io/sampler_settings.h"

namespace heddle {
namespace {

// Those of samplers/scheduler_config.h, which this room does not see; a test holds the two lists together.
const std::vector<std::string> names{"ddim",    "ddpm",     "pndm",         "lms",      "euler",    "euler_ancestral",
                                     "heun",    "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "dpmpp_3s", "deis",
                                     "unipc",   "dpm2",     "dpm2_a",       "lcm",      "tcd",      "rf2",
                                     "fireflow"};

}  // namespace

Params<SchedulerOverrides> SchedulerOverrides::params() {
  using S = SchedulerOverrides;
  return {
      opt("prediction_type", &S::prediction_type, one_of({"epsilon", "v_prediction", "sample", "flow_prediction"}),
          "what the network predicts"),
      opt("timestep_spacing", &S::timestep_spacing, one_of({"linspace", "leading", "trailing"}),
          "how steps spread over training time"),
      opt("steps_offset", &S::steps_offset, range(0, 1000), "added to the timesteps of leading spacing"),
      opt("num_train_timesteps", &S::num_train_timesteps, range(2, 100000), "timesteps the model was trained with"),
      opt("beta_schedule", &S::beta_schedule,
          one_of({"linear", "scaled_linear", "squaredcos_cap_v2", "exp", "laplace", "sigmoid"}),
          "shape of the noise schedule"),
      opt("beta_start", &S::beta_start, range(0, 1), "first beta of the schedule"),
      opt("beta_end", &S::beta_end, range(0, 1), "last beta of the schedule"),
      opt("trained_betas", &S::trained_betas, range(0, 1), "the betas themselves, instead of a schedule"),
      opt("rescale_betas_zero_snr", &S::rescale_betas_zero_snr,
          "rescale the betas so that the last timestep is pure noise"),
      opt("set_alpha_to_one", &S::set_alpha_to_one, "the step past the last ends at a clean picture"),
      opt("clip_sample", &S::clip_sample, "clip the predicted clean sample"),
      opt("clip_sample_range", &S::clip_sample_range, at_least(0), "bound of that clipping"),
      opt("thresholding", &S::thresholding, "dynamic thresholding (Imagen) of the predicted clean sample"),
      opt("dynamic_thresholding_ratio", &S::dynamic_thresholding_ratio, range(0, 1),
          "quantile of dynamic thresholding"),
      opt("sample_max_value", &S::sample_max_value, at_least(0), "upper bound of the dynamic threshold"),
      opt("use_karras_sigmas", &S::use_karras_sigmas, "sigmas spaced as in Karras et al. 2022"),
      opt("use_exponential_sigmas", &S::use_exponential_sigmas, "sigmas spaced exponentially"),
      opt("use_beta_sigmas", &S::use_beta_sigmas, "sigmas spaced by a beta distribution"),
      opt("use_lu_lambdas", &S::use_lu_lambdas, "log-SNR spaced evenly, as in Lu et al. 2022"),
      opt("sigma_min", &S::sigma_min, at_least(0), "smallest sigma of those spacings"),
      opt("sigma_max", &S::sigma_max, at_least(0), "largest sigma of those spacings"),
      opt("sigma_schedule", &S::sigma_schedule, one_of({"karras", "exponential"}), "spacing of an EDM model's sigmas"),
      opt("rho", &S::rho, range(0.01, 1000), "exponent of an EDM model's Karras sigmas"),
      opt("sigma_data", &S::sigma_data, range(1e-6, 1e6), "deviation of the data that an EDM model counts on"),
      opt("final_sigmas_type", &S::final_sigmas_type, one_of({"zero", "sigma_min"}), "sigma after the last step"),
      opt("interpolation_type", &S::interpolation_type, one_of({"linear", "log_linear"}),
          "how Euler interpolates sigmas"),
      opt("timestep_type", &S::timestep_type, one_of({"discrete", "continuous"}),
          "timesteps given to the network by Euler"),
      opt("solver_order", &S::solver_order, range(1, 5), "order of DPM-Solver and DEIS (to 3) and UniPC (to 5)"),
      opt("algorithm_type", &S::algorithm_type,
          one_of({"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"}), "variant of DPM-Solver"),
      opt("solver_type", &S::solver_type, one_of({"midpoint", "heun", "bh1", "bh2"}),
          "second-order form: midpoint or heun, UniPC bh1 or bh2"),
      opt("variance_type", &S::variance_type,
          one_of({"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"}),
          "spread of the noise DDPM adds"),
      opt("lower_order_final", &S::lower_order_final, "lower order in the last steps"),
      opt("euler_at_final", &S::euler_at_final, "the last step by Euler's method"),
      opt("lambda_min_clipped", &S::lambda_min_clipped, "lower bound of log-SNR in DPM-Solver"),
      opt("predict_x0", &S::predict_x0, "UniPC on the clean sample rather than the noise"),
      opt("disable_corrector", &S::disable_corrector, range(0, 1000), "steps in which UniPC does not correct"),
      opt("skip_prk_steps", &S::skip_prk_steps, "PNDM without its Runge-Kutta steps"),
      opt("original_inference_steps", &S::original_inference_steps, range(1, 1000),
          "steps of the schedule LCM and TCD pick from"),
      opt("use_flow_sigmas", &S::use_flow_sigmas, "DPM-Solver, DEIS and UniPC on a flow model's sigmas"),
      opt("shift", &S::shift, range(1e-6, 1e6),
          "shift of a flow model's sigmas: above 1 more of the run at much noise"),
      opt("flow_shift", &S::flow_shift, range(1e-6, 1e6),
          "the same under the name that DPM-Solver, DEIS and UniPC have for it"),
      opt("use_dynamic_shifting", &S::use_dynamic_shifting,
          "instead of it a shift that follows from the picture's size"),
      opt("base_shift", &S::base_shift, range(-100, 100), "dynamic shift at base_image_seq_len"),
      opt("max_shift", &S::max_shift, range(-100, 100), "dynamic shift at max_image_seq_len"),
      opt("base_image_seq_len", &S::base_image_seq_len, range(0, 1e12), "image tokens to which base_shift belongs"),
      opt("max_image_seq_len", &S::max_image_seq_len, range(0, 1e12), "image tokens to which max_shift belongs"),
      opt("time_shift_type", &S::time_shift_type, one_of({"exponential", "linear"}), "form of the dynamic shift"),
      opt("shift_terminal", &S::shift_terminal, range(0, 0.999999), "sigma of the last step, by stretching the others"),
      opt("invert_sigmas", &S::invert_sigmas, "the flow model counts time from noise to the picture"),
      opt("stochastic_sampling", &S::stochastic_sampling, "Euler steps of a flow model end in fresh noise"),
      opt("timestep_scaling", &S::timestep_scaling, at_least(0), "scaling of timesteps in LCM's boundary condition"),
  };
}

Params<SkipLayerSettings> SkipLayerSettings::params() {
  using S = SkipLayerSettings;
  return {need("layers", &S::layers, range(0, 1000), "blocks to leave out, such as [7, 8, 9] of SD3.5 medium"),
          opt("scale", &S::scale, range(0, 100), "how strongly"),
          opt("start", &S::start, range(0, 1), "share of the steps after which it begins"),
          opt("stop", &S::stop, range(0, 1), "share of the steps before which it ends")};
}

Params<SamplerSettings> SamplerSettings::params() {
  using S = SamplerSettings;
  Params<S> own{
      opt("name", &S::name, one_of(names), "the sampler; without it, the one in scheduler_config.json"),
      opt("steps", &S::steps, range(1, 1000),
          "denoising steps; without it what the model's heddle.json says, else 50, SD3 and FLUX 28, LCM and FLUX "
          "schnell 4"),
      opt("sigmas", &S::sigmas, range(0, 1), "a flow model's sigmas before the shift, falling, one for each step"),
      opt("guidance", &S::guidance, range(0, 100),
          "classifier-free guidance scale, of LCM and FLUX dev the embedded one; without it what the model's "
          "heddle.json says, else 7.5, SDXL 5, LCM 8.5, SD3 7, FLUX dev 3.5, from a picture 7"),
      opt("true_guidance", &S::true_guidance, range(0, 100),
          "classifier-free guidance of LCM and FLUX, away from `negative`; off at 1 and below"),
      opt("guidance_rescale", &S::guidance_rescale, range(0, 1),
          "share of the guided prediction rescaled to the unguided spread"),
      opt("guidance_interval", &S::guidance_interval, range(0, 1),
          "shares of the steps from which and before which classifier-free guidance holds; the prompt alone elsewhere"),
      opt("skip_layer_guidance", &S::skip_layer_guidance, "of SD3.5: also away from its answer without some blocks"),
      opt("eta", &S::eta, range(0, 1), "noise DDIM adds in each step, and TCD (its gamma)"),
  };
  return own.include(SchedulerOverrides::params());
}

Json scheduler_overrides(const SchedulerOverrides& overrides) {
  return Json::parse(yaml_to_json(SchedulerOverrides::params().write(overrides)), "sampler");
}

}  // namespace heddle
