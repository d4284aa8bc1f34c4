// What scheduler_config.json may say, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "samplers/schedule.h"

namespace heddle {
namespace {

using nlohmann::json;

void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& act) {
  try {
    act();
    ADD_FAILURE() << "no error; wanted " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

SchedulerConfig parse(const std::string& text, const json& overrides = json::object(),
                      const std::string& sampler = "") {
  return parse_scheduler_config(text, "scheduler_config.json", overrides, sampler);
}

// As published with Stable Diffusion 1.5, keys of other classes and old ones included.
const std::string stable_diffusion = R"({
  "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
  "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
  "trained_betas": null, "clip_sample": false, "timestep_values": null, "tensor_format": "pt"})";

std::vector<std::string> diffusion_samplers() {
  std::vector<std::string> names = sampler_names();
  std::erase_if(names, [](const std::string& name) { return name == "rf2" || name == "fireflow"; });
  return names;
}

TEST(SchedulerConfig, PublishedFileBecomesAnySampler) {
  const SchedulerConfig pndm = parse(stable_diffusion);
  EXPECT_EQ(pndm.solver, Solver::pndm);
  EXPECT_TRUE(pndm.skip_prk_steps);
  EXPECT_EQ(pndm.spacing, Spacing::leading);
  const SchedulerConfig euler = parse(stable_diffusion, json::object(), "euler");
  EXPECT_EQ(euler.solver, Solver::euler);
  EXPECT_EQ(euler.spacing, Spacing::linspace);  // the class's own default, since the file does not say
  EXPECT_EQ(euler.steps_offset, 1);
  const SchedulerConfig sde = parse(stable_diffusion, {{"use_karras_sigmas", true}}, "dpmpp_2m_sde");
  EXPECT_EQ(sde.algorithm, DpmAlgorithm::sde_dpmsolver_pp);
  EXPECT_EQ(sde.sigma_spacing, SigmaSpacing::karras);
  EXPECT_EQ(parse(stable_diffusion, {{"eta", 0.5}}, "ddim").eta, 0.5);
  for (const std::string& name : diffusion_samplers())
    EXPECT_NO_THROW(make_schedule(parse(stable_diffusion, json::object(), name), 20)) << name;
}

TEST(SchedulerConfig, NamesDecideOrderAndAlgorithm) {
  const std::string file = R"({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3,
    "algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min", "timestep_spacing": "trailing"})";
  const SchedulerConfig two = parse(file, json::object(), "dpmpp_2s"), three = parse(file, json::object(), "dpmpp_3s");
  EXPECT_EQ(two.solver_order, 2);
  EXPECT_EQ(three.solver_order, 3);
  for (const SchedulerConfig& config : {two, three}) {
    EXPECT_EQ(config.solver, Solver::dpm_singlestep);
    EXPECT_EQ(config.algorithm, DpmAlgorithm::dpmsolver_pp);
    EXPECT_EQ(config.spacing, Spacing::linspace);  // the class has no other
    EXPECT_FALSE(config.lower_order_final);
  }
  EXPECT_EQ(sampler_name(two), "dpmpp_2s");
  EXPECT_EQ(sampler_name(three), "dpmpp_3s");
  EXPECT_EQ(sampler_name(parse(file, json::object(), "deis")), "deis");
  EXPECT_EQ(parse(stable_diffusion, {{"eta", 0.3}}, "tcd").eta, 0.3);
  EXPECT_EQ(parse(stable_diffusion, json::object(), "tcd").eta, 0);
}

// As published with Playground v2.5.
const std::string playground = R"({"_class_name": "EDMDPMSolverMultistepScheduler", "_diffusers_version": "0.27.0.dev0",
  "algorithm_type": "dpmsolver++", "dynamic_thresholding_ratio": 0.995, "euler_at_final": false,
  "final_sigmas_type": "zero", "lower_order_final": true, "num_train_timesteps": 1000, "prediction_type": "epsilon",
  "rho": 7.0, "sample_max_value": 1.0, "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002, "solver_order": 2,
  "solver_type": "midpoint", "thresholding": false})";

TEST(SchedulerConfig, EdmFilesBecomeTheSamplersThatHaveAnEdmForm) {
  for (const std::string name : {"", "euler", "dpmpp_2m", "dpmpp_2m_sde"}) {
    const SchedulerConfig config = parse(playground, json::object(), name);
    EXPECT_TRUE(config.edm);
    EXPECT_EQ(sampler_name(config), name.empty() ? "dpmpp_2m" : name);
    const Schedule schedule = make_schedule(config, 10);
    EXPECT_NEAR(schedule.init_noise_sigma, std::sqrt(80.0 * 80 + 1), 1e-6);
    EXPECT_NEAR(schedule.evaluations[0].timestep, std::log(80.0) / 4, 1e-6);
  }
  for (const std::string name : {"ddim", "heun", "dpmpp_2s", "unipc", "tcd"})
    expect_error(ErrorCode::usage, "EDM", [&] { parse(playground, json::object(), name); });
}

TEST(SchedulerConfig, DefaultsAreTheClasses) {
  EXPECT_DOUBLE_EQ(parse(R"({"_class_name": "HeunDiscreteScheduler"})").beta_start, 0.00085);
  EXPECT_DOUBLE_EQ(parse(R"({"_class_name": "EulerDiscreteScheduler"})").beta_start, 0.0001);
  EXPECT_EQ(parse(R"({"_class_name": "DDIMScheduler"})").clean_limit, CleanLimit::clamp);
  EXPECT_EQ(parse(R"({"_class_name": "DDIMScheduler", "clip_sample": false})").clean_limit, CleanLimit::none);
  EXPECT_EQ(parse(R"({"_class_name": "LCMScheduler"})").beta_schedule, BetaSchedule::scaled_linear);
}

TEST(SchedulerConfig, PythonsInfinityIsRead) {
  const SchedulerConfig config = parse(
      R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "_note": "\"-Infinity"})");
  EXPECT_TRUE(std::isinf(config.lambda_min_clipped));
}

TEST(SchedulerConfig, RefusalsNameKeyAndValue) {
  const auto refuses = [](const std::string& keys, const std::string& part) {
    expect_error(ErrorCode::input, part, [&] { parse(std::string("{").append(keys).append("}")); });
  };
  refuses(R"("_class_name": "KarrasVeScheduler")", "KarrasVeScheduler");
  const std::string edm = R"("_class_name": "EDMDPMSolverMultistepScheduler", )";
  refuses(edm + R"("prediction_type": "sample")", "prediction_type: one of epsilon, v_prediction");
  refuses(edm + R"("sigma_schedule": "beta")", "sigma_schedule: one of karras, exponential");
  refuses(edm + R"("sigma_min": 90)", "sigma_min");
  refuses(edm + R"("algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min")", "algorithm_type");
  refuses(edm + R"("algorithm_type": "sde-dpmsolver++", "solver_order": 3)", "solver_order");
  const std::string single = R"("_class_name": "DPMSolverSinglestepScheduler", )";
  refuses(single + R"("algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min")", "singlestep");
  refuses(single + R"("solver_order": 4)", "solver_order");
  refuses(R"("_class_name": "DEISMultistepScheduler", "algorithm_type": "sde-dpmsolver++")",
          "algorithm_type: one of deis, dpmsolver, dpmsolver++");
  refuses(R"("_class_name": "KDPM2DiscreteScheduler", "prediction_type": "sample")", "prediction_type");
  refuses(R"("beta_start": 0.1)", "_class_name");
  const std::string dpm = R"("_class_name": "DPMSolverMultistepScheduler", )";
  refuses(dpm + R"("prediction_type": "flow_prediction")",
          "prediction_type: one of epsilon, v_prediction, sample; got \"flow_prediction\"");
  const std::string flow = R"("_class_name": "FlowMatchEulerDiscreteScheduler", )";
  refuses(dpm + R"("use_flow_sigmas": true, "prediction_type": "v_prediction")", "prediction_type: one of flow_pred");
  refuses(dpm + R"("use_flow_sigmas": true, "use_beta_sigmas": true)", "use_flow_sigmas");
  refuses(dpm + R"("use_flow_sigmas": true, "use_lu_lambdas": true)", "use_lu_lambdas");
  refuses(flow + R"("shift": 0)", "shift: a number from 1e-06");
  refuses(flow + R"("shift": "3")", "shift");
  refuses(flow + R"("shift_terminal": 1)", "shift_terminal");
  refuses(flow + R"("time_shift_type": "cubic")", "time_shift_type: one of exponential, linear");
  refuses(flow + R"("base_image_seq_len": 4096)", "max_image_seq_len");
  refuses(flow + R"("use_karras_sigmas": true, "use_beta_sigmas": true)", "use_beta_sigmas");
  refuses(flow + R"("stochastic_sampling": true, "invert_sigmas": true)", "stochastic_sampling");
  refuses(flow + R"("use_dynamic_shiftin": true)", "try use_dynamic_shifting");
  refuses(dpm + R"("algorithm_type": "dpmsolver")", "final_sigmas_type");
  refuses(dpm + R"("solver_order": 4)", "solver_order: a number from 1 to 3; got 4");
  refuses(dpm + R"("use_karras_sigmas": true, "use_beta_sigmas": true)", "use_beta_sigmas");
  refuses(dpm + R"("use_karras_sigma": true)", "use_karras_sigma: true; try use_karras_sigmas");
  refuses(dpm + R"("use_karras_sigmas": "yes")", "true or false");
  refuses(dpm + R"("num_train_timesteps": 1e15)", "num_train_timesteps");
  refuses(dpm + R"("num_train_timesteps": -3)", "num_train_timesteps");
  refuses(dpm + R"("num_train_timesteps": 10.5)", "whole");
  refuses(dpm + R"("beta_end": 7)", "beta_end");
  refuses(dpm + R"("beta_schedule": "cubic")", "cubic");
  refuses(dpm + R"("trained_betas": [0.1, 0.2])", "trained_betas");
  refuses(dpm + R"("trained_betas": [0.1, "a"], "num_train_timesteps": 2)", "trained_betas");
  refuses(dpm + R"("sigma_min": 3, "sigma_max": 2, "use_karras_sigmas": true)", "sigma_min");
  refuses(R"("_class_name": "PNDMScheduler", "prediction_type": "sample")", "prediction_type");
  refuses(R"("_class_name": "UniPCMultistepScheduler", "solver_p": {"a": 1})", "solver_p");
  refuses(R"("_class_name": "DDPMScheduler", "variance_type": "learned_range")", "variance_type");
  expect_error(ErrorCode::usage, "sampler", [] { parse(stable_diffusion, json::object(), "eular"); });
  expect_error(ErrorCode::usage, "try euler", [] { parse(stable_diffusion, json::object(), "eular"); });
  expect_error(ErrorCode::usage, "prediction_type", [] { parse(stable_diffusion, {{"prediction_type", "x"}}); });
  expect_error(ErrorCode::usage, "karras", [] { parse(stable_diffusion, {{"karras", true}}); });
}

// As published with Stable Diffusion 3 and 3.5 (large), 3.5 (medium), FLUX.1 [dev] and [schnell].
const std::string sd3 = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.29.0.dev0",
  "num_train_timesteps": 1000, "shift": 3.0})";
const std::string sd35 = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.31.0.dev0",
  "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15,
  "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": false})";
const std::string flux_dev = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0.dev0",
  "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15,
  "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": true})";
const std::string flux_schnell = R"({"_class_name": "FlowMatchEulerDiscreteScheduler",
  "_diffusers_version": "0.30.0.dev0", "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096,
  "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": false})";
// As a newer diffusers saves it: every key of the class.
const std::string complete = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.36.0",
  "base_image_seq_len": 256, "base_shift": 0.5, "invert_sigmas": false, "max_image_seq_len": 4096, "max_shift": 1.15,
  "num_train_timesteps": 1000, "shift": 3.0, "shift_terminal": null, "stochastic_sampling": false,
  "time_shift_type": "exponential", "use_beta_sigmas": false, "use_dynamic_shifting": false,
  "use_exponential_sigmas": false, "use_karras_sigmas": false})";

TEST(SchedulerConfig, PublishedFlowFilesBecomeAnySamplerOfFlows) {
  for (const std::string& file : {sd3, sd35, flux_dev, flux_schnell, complete}) {
    for (const std::string name : {"", "euler", "heun", "rf2", "fireflow", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
      const SchedulerConfig config = parse(file, json::object(), name);
      EXPECT_TRUE(config.flow);
      EXPECT_EQ(config.prediction, Prediction::flow);
      EXPECT_EQ(sampler_name(config), name.empty() ? "euler" : name);
      const Schedule schedule = make_schedule(config, {.steps = 12, .sigmas = {}, .image_tokens = 4096});
      EXPECT_EQ(schedule.init_noise_sigma, 1);
      EXPECT_EQ(schedule.sigmas.size(), schedule.evaluations.size() + 1);
      EXPECT_EQ(schedule.sigmas.back(), 0);
    }
    for (const std::string name : {"ddim", "pndm", "lcm", "euler_ancestral", "lms"})
      expect_error(ErrorCode::usage, "flow model", [&] { parse(file, json::object(), name); });
  }
  for (const std::string name : {"rf2", "fireflow"})
    expect_error(ErrorCode::usage, "are for flows", [&] { parse(stable_diffusion, json::object(), name); });
  expect_error(ErrorCode::usage, "flow_prediction", [] { parse(sd3, {{"prediction_type", "epsilon"}}); });
}

TEST(SchedulerConfig, ShiftsOfPublishedFlowFiles) {
  const auto sigma = [](const std::string& file, const std::string& name) {
    return make_schedule(parse(file, json::object(), name),
                         {.steps = 4, .sigmas = even_sigmas(4), .image_tokens = 1024})
        .step_sigmas[2];
  };
  for (const std::string name : {"", "heun", "rf2", "unipc"}) {
    EXPECT_NEAR(sigma(sd3, name), 3 * 0.5 / (1 + 2 * 0.5), 1e-6) << name;
    EXPECT_NEAR(sigma(flux_schnell, name), 0.5, 1e-6) << name;
    const double mu = 0.5 + (1.15 - 0.5) * (1024 - 256) / (4096 - 256);
    EXPECT_NEAR(sigma(flux_dev, name), std::exp(mu) / (std::exp(mu) + 1), 1e-6) << name;
  }
  EXPECT_DOUBLE_EQ(parse(flux_dev).flow_shift.mu(256), 0.5);
  EXPECT_DOUBLE_EQ(parse(flux_dev).flow_shift.mu(4096), 1.15);
  // The two names of the static shift stand for each other where a file has only one.
  EXPECT_EQ(parse(R"({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true, "flow_shift": 5.0,
    "prediction_type": "flow_prediction"})",
                  json::object(), "euler")
                .flow_shift.shift,
            5);
}

TEST(SchedulerConfig, HostileTextIsAnInputError) {
  const std::vector<std::string> texts{
      "",
      "{",
      "[]",
      "null",
      "\"a\"",
      "{\"_class_name\": 3}",
      "{\"_class_name\": \"DDIMScheduler\", \"beta_start\": 1e999}",
      std::string("\0\0\0", 3),
      "{\"a\": \"\xff\"}",
      "-Infinity",
      "{\"_class_name\": \"DDIMScheduler\" \"x\"}",
      std::string(200000, '['),
      "{\"beta_start\":" + std::string(200000, '[') + std::string(200000, ']') + "}",
      "{\"_class_name\": \"DDIMScheduler\", \"x\":" + std::string(200000, '[') + std::string(200000, ']') + "}"};
  for (const std::string& text : texts) expect_error(ErrorCode::input, "scheduler_config.json", [&] { parse(text); });
}

TEST(Schedule, StepsThatCannotBeAreUsageErrors) {
  const SchedulerConfig ddim = parse(stable_diffusion, json::object(), "ddim");
  expect_error(ErrorCode::usage, "sampler.steps", [&] { make_schedule(ddim, 0); });
  expect_error(ErrorCode::usage, "sampler.steps", [&] { make_schedule(ddim, 1001); });
  expect_error(ErrorCode::usage, "steps_offset", [&] { make_schedule(ddim, 1000); });  // timestep 1000 with the offset
  const SchedulerConfig prk = parse(stable_diffusion, {{"skip_prk_steps", false}});
  expect_error(ErrorCode::usage, "skip_prk_steps", [&] { make_schedule(prk, 3); });
  const SchedulerConfig lcm = parse(stable_diffusion, json::object(), "lcm");
  expect_error(ErrorCode::usage, "original_inference_steps", [&] { make_schedule(lcm, 51); });
  expect_error(ErrorCode::usage, "strength", [&] { begin_index(make_schedule(ddim, 10), 0.05); });
  expect_error(ErrorCode::usage, "strength", [&] { begin_index(make_schedule(ddim, 10), NAN); });
}

TEST(Schedule, SigmasThatCannotBeAreUsageErrors) {
  const auto refuses = [](const std::string& file, const std::vector<double>& sigmas, const std::string& part,
                          const std::string& sampler = "") {
    expect_error(ErrorCode::usage, part, [&] {
      make_schedule(parse(file, json::object(), sampler), {.steps = 3, .sigmas = sigmas, .image_tokens = 16});
    });
  };
  refuses(sd3, {1, 0.5}, "as many as steps");
  refuses(sd3, {1, 0.5, 0.5}, "falling");
  refuses(sd3, {1.1, 0.5, 0.1}, "falling");
  refuses(sd3, {1, 0.5, 0}, "falling");
  refuses(sd3, {1, NAN, 0.1}, "falling");
  refuses(sd3, {1, 0.5, 0.1}, "DPM-Solver", "dpmpp_2m");
  refuses(stable_diffusion, {1, 0.5, 0.1}, "flow models");
  expect_error(ErrorCode::usage, "use_dynamic_shifting", [] { make_schedule(parse(flux_dev), 4); });
  expect_error(ErrorCode::usage, "sampler.steps", [] { make_schedule(parse(sd3), 0); });
  expect_error(ErrorCode::input, "shifts", [] {
    make_schedule(parse(flux_dev, {{"time_shift_type", "linear"}, {"base_shift", -3}, {"max_shift", -2}}),
                  {.steps = 4, .sigmas = {}, .image_tokens = 512});
  });
}

TEST(Schedule, DegenerateNoiseIsAnInputError) {
  const json zero{{"rescale_betas_zero_snr", true}, {"timestep_spacing", "trailing"}};
  expect_error(ErrorCode::input, "v_prediction", [&] { make_schedule(parse(stable_diffusion, zero, "ddim"), 10); });
  json v = zero;
  v["prediction_type"] = "v_prediction";
  EXPECT_NO_THROW(make_schedule(parse(stable_diffusion, v, "ddim"), 10));
  for (const std::string& name : diffusion_samplers()) {
    for (const double beta : {0.0, 1.0}) {
      expect_error(ErrorCode::input, "scheduler", [&] {
        make_schedule(parse(stable_diffusion, {{"beta_start", beta}, {"beta_end", beta}}, name), 5);
      });
    }
  }
}

// numpy.arange makes 62 trailing timesteps of 61, the last of them -1.
TEST(Schedule, TrailingHasNoSurplusTimestep) {
  const Schedule schedule = make_schedule(parse(stable_diffusion, {{"timestep_spacing", "trailing"}}, "ddim"), 61);
  ASSERT_EQ(schedule.evaluations.size(), 61u);
  EXPECT_EQ(schedule.evaluations.back().timestep, 15);
}

TEST(Schedule, StepsAndStages) {
  const Schedule heun = make_schedule(parse(stable_diffusion, json::object(), "heun"), 3);
  std::vector<std::pair<int, int>> seen;
  for (const Evaluation& at : heun.evaluations) seen.emplace_back(at.step, at.stage);
  EXPECT_EQ(seen, (std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0}}));
  EXPECT_EQ(begin_index(heun, 0.7), 2);
  const Schedule pndm = make_schedule(parse(stable_diffusion), 3);
  seen.clear();
  for (const Evaluation& at : pndm.evaluations) seen.emplace_back(at.step, at.stage);
  EXPECT_EQ(seen, (std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {1, 0}, {2, 0}}));
}

}  // namespace
}  // namespace heddle
