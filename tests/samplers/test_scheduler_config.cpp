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
  for (const std::string& name : sampler_names())
    EXPECT_NO_THROW(make_schedule(parse(stable_diffusion, json::object(), name), 20)) << name;
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
  refuses(R"("_class_name": "FlowMatchEulerDiscreteScheduler")", "FlowMatchEulerDiscreteScheduler");
  refuses(R"("beta_start": 0.1)", "_class_name");
  const std::string dpm = R"("_class_name": "DPMSolverMultistepScheduler", )";
  refuses(dpm + R"("prediction_type": "flow_prediction")",
          "prediction_type: one of epsilon, v_prediction, sample; got \"flow_prediction\"");
  refuses(dpm + R"("use_flow_sigmas": true)", "use_flow_sigmas");
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

TEST(Schedule, DegenerateNoiseIsAnInputError) {
  const json zero{{"rescale_betas_zero_snr", true}, {"timestep_spacing", "trailing"}};
  expect_error(ErrorCode::input, "v_prediction", [&] { make_schedule(parse(stable_diffusion, zero, "ddim"), 10); });
  json v = zero;
  v["prediction_type"] = "v_prediction";
  EXPECT_NO_THROW(make_schedule(parse(stable_diffusion, v, "ddim"), 10));
  for (const std::string& name : sampler_names()) {
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
