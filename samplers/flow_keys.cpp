// Keys and defaults of FlowMatchEulerDiscreteScheduler and FlowMatchHeunDiscreteScheduler, and of DPM-Solver and UniPC
// where they use flow sigmas.
#include "samplers/flow_keys.h"

#include <algorithm>
#include <array>

namespace heddle {
namespace {

constexpr int64_t most_train_timesteps = 100000, most_tokens = int64_t{1} << 40;

bool flow_class(const SchedulerKeys& keys) {
  const nlohmann::json* name = keys.find("_class_name");
  return name != nullptr && (*name == "FlowMatchEulerDiscreteScheduler" || *name == "FlowMatchHeunDiscreteScheduler");
}

Prediction read_flow_prediction(const SchedulerKeys& keys, const SchedulerConfig& config) {
  if (walks_on_log_snr(config.solver)) {
    return keys.choice<Prediction>(
        "prediction_type", flow_class(keys) ? Prediction::flow : Prediction::epsilon,
        {{"flow_prediction", Prediction::flow}, {"epsilon", Prediction::epsilon}, {"sample", Prediction::sample}});
  }
  if (keys.overridden("prediction_type"))
    keys.choice<Prediction>("prediction_type", Prediction::flow, {{"flow_prediction", Prediction::flow}});
  return keys.flag("invert_sigmas", false) ? Prediction::reverse_flow : Prediction::flow;
}

FlowShift read_shift(const SchedulerKeys& keys, Solver solver) {
  FlowShift shift;
  const bool of_dpm = keys.find("flow_shift") != nullptr && (walks_on_log_snr(solver) || keys.find("shift") == nullptr);
  shift.shift = keys.number(of_dpm ? "flow_shift" : "shift", 1, 1e-6, 1e6);
  shift.dynamic = keys.flag("use_dynamic_shifting", false);
  shift.base_shift = keys.number("base_shift", 0.5, -100, 100);
  shift.max_shift = keys.number("max_shift", 1.15, -100, 100);
  shift.base_tokens = keys.integer("base_image_seq_len", 256, 0, most_tokens);
  shift.max_tokens = keys.integer("max_image_seq_len", 4096, 0, most_tokens);
  if (shift.max_tokens == shift.base_tokens) keys.refuse("max_image_seq_len", "another number than base_image_seq_len");
  shift.linear = keys.choice<bool>("time_shift_type", false, {{"exponential", false}, {"linear", true}});
  shift.terminal = keys.number("shift_terminal", 0, 0, 0.999999);
  return shift;
}

}  // namespace

bool is_flow(const SchedulerKeys& keys, Solver solver, bool by_name) {
  using enum Solver;
  const bool named = by_name || walks_on_log_snr(solver);
  const bool flow = named ? keys.flag("use_flow_sigmas", flow_class(keys)) : flow_class(keys);
  const bool only_flows = solver == rf2 || solver == fireflow;
  if (only_flows && !flow) {
    fail(ErrorCode::usage, "sampler", "a sampler for models that predict noise", "rf2 or fireflow, which are for flows",
         "sampler: {name: heun}");
  }
  if (flow && !only_flows && solver != euler && solver != heun && !walks_on_log_snr(solver)) {
    fail(ErrorCode::usage, "sampler",
         "euler, heun, rf2, fireflow, dpmpp_2m, dpmpp_2m_sde, dpmpp_2s, dpmpp_3s, deis or unipc for a flow model",
         "another", "sampler: {name: euler}");
  }
  return flow;
}

void read_flow(const SchedulerKeys& keys, SchedulerConfig& config) {
  config.num_train_timesteps = keys.integer("num_train_timesteps", 1000, 2, most_train_timesteps);
  config.prediction = read_flow_prediction(keys, config);
  config.flow_shift = read_shift(keys, config.solver);
  config.sigma_spacing = read_sigma_spacing(keys);
  if (walks_on_log_snr(config.solver)) {
    const bool known = config.sigma_spacing == SigmaSpacing::table ||
                       (config.solver == Solver::unipc && config.sigma_spacing == SigmaSpacing::karras);
    if (!known) keys.refuse("use_flow_sigmas", "false with sigmas of another spacing");
    if (config.solver == Solver::dpm_multistep && keys.flag("use_lu_lambdas", false))
      keys.refuse("use_lu_lambdas", "false with flow sigmas");
    return;
  }
  if (keys.find("sigma_min") != nullptr) config.sigma_min = keys.number("sigma_min", 0, 1e-10, 1);
  if (keys.find("sigma_max") != nullptr) config.sigma_max = keys.number("sigma_max", 0, 1e-10, 1);
  if (config.solver != Solver::euler) return;
  config.stochastic = keys.flag("stochastic_sampling", false);
  if (config.stochastic && config.prediction == Prediction::reverse_flow)
    keys.refuse("stochastic_sampling", "false where invert_sigmas is true");
}

}  // namespace heddle
