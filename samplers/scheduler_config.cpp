// Reads scheduler_config.json. Keys, defaults and remapped values are those of diffusers' scheduler classes.
#include "samplers/scheduler_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/core/error.h"
#include "samplers/edm_keys.h"
#include "samplers/flow_keys.h"
#include "samplers/scheduler_keys.h"

namespace heddle {
namespace {

using nlohmann::json;

constexpr int64_t most_train_timesteps = 100000;

struct NamedSolver {
  const char* name;
  const char* class_name;
  Solver solver;
};
constexpr std::array<NamedSolver, 23> named_solvers{{
    {"ddim", "DDIMScheduler", Solver::ddim},
    {"ddpm", "DDPMScheduler", Solver::ddpm},
    {"pndm", "PNDMScheduler", Solver::pndm},
    {"lms", "LMSDiscreteScheduler", Solver::lms},
    {"euler", "EulerDiscreteScheduler", Solver::euler},
    {"euler_ancestral", "EulerAncestralDiscreteScheduler", Solver::euler_ancestral},
    {"heun", "HeunDiscreteScheduler", Solver::heun},
    {"dpmpp_2m", "DPMSolverMultistepScheduler", Solver::dpm_multistep},
    {"dpmpp_2m_sde", "DPMSolverMultistepScheduler", Solver::dpm_multistep},
    {"dpmpp_2s", "DPMSolverSinglestepScheduler", Solver::dpm_singlestep},
    {"dpmpp_3s", "DPMSolverSinglestepScheduler", Solver::dpm_singlestep},
    {"deis", "DEISMultistepScheduler", Solver::deis},
    {"unipc", "UniPCMultistepScheduler", Solver::unipc},
    {"dpm2", "KDPM2DiscreteScheduler", Solver::dpm2},
    {"dpm2_a", "KDPM2AncestralDiscreteScheduler", Solver::dpm2_ancestral},
    {"lcm", "LCMScheduler", Solver::lcm},
    {"tcd", "TCDScheduler", Solver::tcd},
    {"euler", "FlowMatchEulerDiscreteScheduler", Solver::euler},
    {"heun", "FlowMatchHeunDiscreteScheduler", Solver::heun},
    {"euler", "EDMEulerScheduler", Solver::euler},
    {"dpmpp_2m", "EDMDPMSolverMultistepScheduler", Solver::dpm_multistep},
    {"rf2", "", Solver::rf2},  // no class of diffusers
    {"fireflow", "", Solver::fireflow},
}};

const NamedSolver& solver_of(const json& file, std::string_view where, std::string_view sampler) {
  if (!sampler.empty()) {
    for (const NamedSolver& named : named_solvers) {
      if (sampler == named.name) return named;
    }
    std::string names;
    for (const std::string& name : sampler_names()) names += (names.empty() ? "" : ", ") + name;
    fail(ErrorCode::usage, "sampler", names, sampler, nearest_word(sampler, sampler_names()));
  }
  const auto found = file.find("_class_name");
  std::string classes;
  for (const NamedSolver& named : named_solvers) {
    const std::string class_name = named.class_name;
    if (class_name.empty()) continue;
    if (found != file.end() && *found == class_name) return named;
    if (classes.find(class_name) == std::string::npos) classes += (classes.empty() ? "" : ", ") + class_name;
  }
  fail(ErrorCode::input, where, "_class_name: one of " + classes, found == file.end() ? "none" : text_of(*found),
       "a sampler by name");
}

void read_betas(const SchedulerKeys& keys, SchedulerConfig& config) {
  const bool distilled = config.solver == Solver::lcm || config.solver == Solver::tcd;
  // Whose defaults are Stable Diffusion's.
  const bool newer = config.solver == Solver::heun || looks_at_middle(config.solver) || distilled;
  config.num_train_timesteps = keys.integer("num_train_timesteps", 1000, 2, most_train_timesteps);
  config.beta_start = keys.number("beta_start", newer ? 0.00085 : 0.0001, 0, 1);
  config.beta_end = keys.number("beta_end", newer ? 0.012 : 0.02, 0, 1);
  config.beta_schedule =
      keys.choice<BetaSchedule>("beta_schedule", distilled ? BetaSchedule::scaled_linear : BetaSchedule::linear,
                                {{"linear", BetaSchedule::linear},
                                 {"scaled_linear", BetaSchedule::scaled_linear},
                                 {"squaredcos_cap_v2", BetaSchedule::cosine},
                                 {"exp", BetaSchedule::exponential},
                                 {"laplace", BetaSchedule::laplace},
                                 {"sigmoid", BetaSchedule::sigmoid}});
  const bool rescales = config.solver == Solver::ddim || config.solver == Solver::ddpm || distilled ||
                        config.solver == Solver::euler || config.solver == Solver::euler_ancestral ||
                        config.solver == Solver::dpm_multistep || config.solver == Solver::unipc;
  config.rescale_betas_zero_snr = rescales && keys.flag("rescale_betas_zero_snr", false);
  const json* betas = keys.find("trained_betas");
  if (betas == nullptr) return;
  if (!betas->is_array() || static_cast<int64_t>(betas->size()) != config.num_train_timesteps) {
    keys.refuse("trained_betas", std::to_string(config.num_train_timesteps) + " numbers, num_train_timesteps");
  }
  for (const json& beta : *betas) {
    if (!beta.is_number() || !(beta.get<double>() >= 0 && beta.get<double>() <= 1))
      keys.refuse("trained_betas", "numbers from 0 to 1");
    config.trained_betas.push_back(beta.get<double>());
  }
}

void read_prediction(const SchedulerKeys& keys, SchedulerConfig& config) {
  config.prediction = keys.choice<Prediction>(
      "prediction_type", Prediction::epsilon,
      {{"epsilon", Prediction::epsilon}, {"v_prediction", Prediction::v_prediction}, {"sample", Prediction::sample}});
  if (config.prediction == Prediction::sample &&
      (config.solver == Solver::pndm || config.solver == Solver::euler_ancestral || looks_at_middle(config.solver))) {
    keys.refuse("prediction_type", "epsilon or v_prediction for this sampler");
  }
}

void read_limit(const SchedulerKeys& keys, SchedulerConfig& config) {
  const bool thresholds = config.solver == Solver::ddim || config.solver == Solver::ddpm ||
                          config.solver == Solver::lcm || walks_on_log_snr(config.solver);
  const bool clips = config.solver == Solver::ddim || config.solver == Solver::ddpm || config.solver == Solver::lcm ||
                     config.solver == Solver::heun;
  const bool clip_default = config.solver == Solver::ddim || config.solver == Solver::ddpm;
  if (clips && keys.flag("clip_sample", clip_default)) config.clean_limit = CleanLimit::clamp;
  if (thresholds && keys.flag("thresholding", false)) config.clean_limit = CleanLimit::dynamic;
  config.clip_sample_range = keys.number("clip_sample_range", 1, 0, 1e6);
  config.dynamic_thresholding_ratio = keys.number("dynamic_thresholding_ratio", 0.995, 0, 1);
  config.sample_max_value = keys.number("sample_max_value", 1, 0, 1e6);
}

void read_spacing(const SchedulerKeys& keys, SchedulerConfig& config) {
  const bool discrete = walks_on_timesteps(config.solver);
  const auto spacing = keys.choice<Spacing>(
      "timestep_spacing", discrete ? Spacing::leading : Spacing::linspace,
      {{"linspace", Spacing::linspace}, {"leading", Spacing::leading}, {"trailing", Spacing::trailing}});
  const int64_t offset = keys.integer("steps_offset", 0, 0, most_train_timesteps);
  const bool even = config.solver == Solver::dpm_singlestep;  // whose class has neither key
  config.spacing = even ? Spacing::linspace : spacing;
  config.steps_offset = even ? 0 : offset;
  config.set_alpha_to_one = keys.flag("set_alpha_to_one", config.solver != Solver::pndm);
  if (discrete || config.solver == Solver::euler_ancestral) return;

  config.sigma_spacing = read_sigma_spacing(keys);
  // diffusers asks for Karras first, then Lu, then the others.
  const bool lu = config.solver == Solver::dpm_multistep && keys.flag("use_lu_lambdas", false);
  if (lu && config.sigma_spacing != SigmaSpacing::karras) config.sigma_spacing = SigmaSpacing::lu;
  if (!(config.solver == Solver::lms && config.sigma_spacing == SigmaSpacing::karras)) {
    if (keys.find("sigma_min") != nullptr) config.sigma_min = keys.number("sigma_min", 0, 1e-10, 1e6);
    if (keys.find("sigma_max") != nullptr) config.sigma_max = keys.number("sigma_max", 0, 1e-10, 1e6);
    if (config.sigma_min && config.sigma_max && *config.sigma_min > *config.sigma_max)
      keys.refuse("sigma_min", "a number below sigma_max");
  }
  if (config.solver == Solver::deis) {
    config.final_sigma_zero = false;
  } else if (walks_on_log_snr(config.solver) || config.solver == Solver::euler) {
    config.final_sigma_zero = keys.choice<bool>("final_sigmas_type", true, {{"zero", true}, {"sigma_min", false}});
  }
  if (config.solver == Solver::euler) {
    config.log_linear = keys.choice<bool>("interpolation_type", false, {{"linear", false}, {"log_linear", true}});
    config.continuous_timesteps =
        keys.choice<bool>("timestep_type", false, {{"discrete", false}, {"continuous", true}}) &&
        config.prediction == Prediction::v_prediction;
  }
}

void read_dpm(const SchedulerKeys& keys, SchedulerConfig& config) {
  using enum DpmAlgorithm;
  config.solver_order = static_cast<int>(keys.integer("solver_order", 2, 1, 3));
  const bool singlestep = config.solver == Solver::dpm_singlestep;
  config.lower_order_final = keys.flag("lower_order_final", !singlestep);
  config.euler_at_final = !singlestep && keys.flag("euler_at_final", false);
  config.algorithm = keys.choice<DpmAlgorithm>("algorithm_type", dpmsolver_pp,
                                               {{"dpmsolver++", dpmsolver_pp},
                                                {"dpmsolver", dpmsolver},
                                                {"sde-dpmsolver++", sde_dpmsolver_pp},
                                                {"sde-dpmsolver", sde_dpmsolver},
                                                {"deis", dpmsolver_pp}});
  config.heun_type = keys.choice<bool>(
      "solver_type", false, {{"midpoint", false}, {"heun", true}, {"logrho", false}, {"bh1", false}, {"bh2", false}});
  const double infinity = std::numeric_limits<double>::infinity();
  config.lambda_min_clipped = keys.number("lambda_min_clipped", -infinity, -infinity, 1e6);
  const bool noise_form = config.algorithm == dpmsolver || config.algorithm == sde_dpmsolver;
  if (noise_form && config.final_sigma_zero)
    keys.refuse("algorithm_type", "dpmsolver++ or sde-dpmsolver++ where final_sigmas_type is zero");
  if (singlestep && config.algorithm == sde_dpmsolver)
    keys.refuse("algorithm_type", "dpmsolver, dpmsolver++ or sde-dpmsolver++ for a singlestep solver");
  if (config.edm && noise_form) keys.refuse("algorithm_type", "dpmsolver++ or sde-dpmsolver++ for a model of EDM");
  if (config.edm && config.algorithm == sde_dpmsolver_pp && config.solver_order == 3)
    keys.refuse("solver_order", "1 or 2 for sde-dpmsolver++ of EDM");
  if (config.algorithm == sde_dpmsolver && config.solver_order == 3)
    keys.refuse("solver_order", "1 or 2 for sde-dpmsolver");
  if (const json* variance = keys.find("variance_type");
      variance != nullptr && (*variance == "learned" || *variance == "learned_range")) {
    keys.refuse("variance_type", "a network that predicts no variance");
  }
}

void read_deis(const SchedulerKeys& keys, SchedulerConfig& config) {
  config.solver_order = static_cast<int>(keys.integer("solver_order", 2, 1, 3));
  config.lower_order_final = keys.flag("lower_order_final", true);
  keys.choice<bool>("algorithm_type", true, {{"deis", true}, {"dpmsolver", true}, {"dpmsolver++", true}});
  keys.choice<bool>("solver_type", true,
                    {{"logrho", true}, {"midpoint", true}, {"heun", true}, {"bh1", true}, {"bh2", true}});
}

void read_unipc(const SchedulerKeys& keys, SchedulerConfig& config) {
  config.solver_order = static_cast<int>(keys.integer("solver_order", 2, 1, 5));
  config.lower_order_final = keys.flag("lower_order_final", true);
  config.bh1 = keys.choice<bool>(
      "solver_type", false, {{"bh2", false}, {"bh1", true}, {"midpoint", false}, {"heun", false}, {"logrho", false}});
  config.predict_x0 = keys.flag("predict_x0", true);
  if (keys.find("solver_p") != nullptr) keys.refuse("solver_p", "null: the predictor is UniP");
  if (!config.flow && keys.find("shift_terminal") != nullptr) keys.refuse("shift_terminal", "null without flow sigmas");
  const json* disabled = keys.find("disable_corrector");
  if (disabled == nullptr) return;
  if (!disabled->is_array() || static_cast<int64_t>(disabled->size()) > most_train_timesteps)
    keys.refuse("disable_corrector", "a list of steps");
  for (const json& step : *disabled) {
    if (!step.is_number_integer()) keys.refuse("disable_corrector", "a list of steps");
    config.disable_corrector.push_back(step.get<int64_t>());
  }
}

void read_others(const SchedulerKeys& keys, SchedulerConfig& config) {
  if (config.solver == Solver::pndm) config.skip_prk_steps = keys.flag("skip_prk_steps", false);
  if (config.solver == Solver::ddpm) {
    config.large_variance = keys.choice<bool>(
        "variance_type", false,
        {{"fixed_small", false}, {"fixed_small_log", false}, {"fixed_large", true}, {"fixed_large_log", true}});
  }
  if (config.solver == Solver::lcm || config.solver == Solver::tcd) {
    config.original_inference_steps = keys.integer("original_inference_steps", 50, 1, config.num_train_timesteps);
    config.timestep_scaling = keys.number("timestep_scaling", 10, 0, 1e6);
  }
}

// What the names of DPM-Solver++ and DEIS say of the solver, where no override says otherwise.
void name_decides(std::string_view sampler, json& over) {
  const auto decide = [&](const char* key, const json& value) {
    if (!over.contains(key)) over[key] = value;
  };
  if (sampler == "deis") decide("algorithm_type", "deis");
  if (!sampler.starts_with("dpmpp")) return;
  decide("algorithm_type", sampler == "dpmpp_2m_sde" ? "sde-dpmsolver++" : "dpmsolver++");
  decide("solver_order", sampler == "dpmpp_3s" ? 3 : 2);
}

}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const NamedSolver& named : named_solvers) {
    if (std::ranges::find(names, named.name) == names.end()) names.emplace_back(named.name);
  }
  return names;
}

std::string sampler_name(const SchedulerConfig& config) {
  if (config.solver == Solver::dpm_multistep) {
    const bool sde =
        config.algorithm == DpmAlgorithm::sde_dpmsolver || config.algorithm == DpmAlgorithm::sde_dpmsolver_pp;
    return sde ? "dpmpp_2m_sde" : "dpmpp_2m";
  }
  if (config.solver == Solver::dpm_singlestep) return config.solver_order == 3 ? "dpmpp_3s" : "dpmpp_2s";
  for (const NamedSolver& named : named_solvers) {
    if (named.solver == config.solver) return named.name;
  }
  fail(ErrorCode::internal, "sampler", "a named solver", "another");
}

SchedulerConfig parse_scheduler_config(std::string_view text, std::string_view where) {
  return parse_scheduler_config(text, where, json::object(), {});
}

SchedulerConfig parse_scheduler_config(std::string_view text, std::string_view where, const json& overrides,
                                       std::string_view sampler) {
  const json file = parse_scheduler_object(text, where);
  json over = overrides.is_null() ? json::object() : overrides;
  if (!over.is_object()) fail(ErrorCode::usage, "sampler", "keys of a scheduler", text_of(over));
  check_scheduler_keys(file, ErrorCode::input, where);
  check_scheduler_keys(over, ErrorCode::usage, "sampler");

  SchedulerConfig config;
  config.solver = solver_of(file, where, sampler).solver;
  name_decides(sampler, over);

  const SchedulerKeys keys(file, over, where);
  config.flow = is_flow(keys, config.solver, !sampler.empty());
  if (config.flow) {
    read_flow(keys, config);
    if (!walks_on_log_snr(config.solver)) return config;
  }
  config.edm = is_edm(keys, config.solver);
  if (config.edm) {
    read_edm(keys, config);
    if (config.solver == Solver::euler) return config;
  } else {
    read_betas(keys, config);
    if (!config.flow) read_prediction(keys, config);
    read_spacing(keys, config);
  }
  read_limit(keys, config);
  if (config.solver == Solver::dpm_multistep || config.solver == Solver::dpm_singlestep) read_dpm(keys, config);
  if (config.solver == Solver::deis) read_deis(keys, config);
  if (config.solver == Solver::unipc) read_unipc(keys, config);
  read_others(keys, config);
  const bool by_eta = config.solver == Solver::ddim || config.solver == Solver::tcd;
  if (by_eta && over.contains("eta")) config.eta = keys.number("eta", 0, 0, 1);
  return config;
}

}  // namespace heddle
