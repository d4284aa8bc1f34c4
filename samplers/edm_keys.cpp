// Keys and defaults of EDMEulerScheduler and EDMDPMSolverMultistepScheduler.
#include "samplers/edm_keys.h"

namespace heddle {

bool is_edm(const SchedulerKeys& keys, Solver solver) {
  const nlohmann::json* name = keys.find("_class_name");
  if (name == nullptr || (*name != "EDMEulerScheduler" && *name != "EDMDPMSolverMultistepScheduler")) return false;
  if (solver != Solver::euler && solver != Solver::dpm_multistep) {
    fail(ErrorCode::usage, "sampler", "euler, dpmpp_2m or dpmpp_2m_sde for a model of EDM", "another",
         "sampler: {name: euler}");
  }
  return true;
}

void read_edm(const SchedulerKeys& keys, SchedulerConfig& config) {
  config.num_train_timesteps = keys.integer("num_train_timesteps", 1000, 2, 100000);
  config.prediction =
      keys.choice<Prediction>("prediction_type", Prediction::epsilon,
                              {{"epsilon", Prediction::epsilon}, {"v_prediction", Prediction::v_prediction}});
  config.sigma_min = keys.number("sigma_min", 0.002, 1e-10, 1e6);
  config.sigma_max = keys.number("sigma_max", 80, 1e-10, 1e6);
  if (*config.sigma_min > *config.sigma_max) keys.refuse("sigma_min", "a number below sigma_max");
  config.sigma_data = keys.number("sigma_data", 0.5, 1e-6, 1e6);
  config.rho = keys.number("rho", 7, 0.01, 1000);
  config.sigma_spacing =
      keys.choice<SigmaSpacing>("sigma_schedule", SigmaSpacing::karras,
                                {{"karras", SigmaSpacing::karras}, {"exponential", SigmaSpacing::exponential}});
  config.final_sigma_zero = keys.choice<bool>("final_sigmas_type", true, {{"zero", true}, {"sigma_min", false}});
}

}  // namespace heddle
