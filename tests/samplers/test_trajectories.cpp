// Whole runs of every scheduler against diffusers', through a toy network; fixtures by tools/fixtures/samplers.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "samplers/random.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

using nlohmann::json;

const Shape shape{2, 4, 2};

Tensor toy(const Tensor& x, const Evaluation& at) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = 0.7f * v + 0.2f * std::sin(v) + static_cast<float>(1e-4 * at.timestep);
  return Tensor::from(std::span<const float>(values), x.shape());
}

Tensor normals(uint64_t seed) {
  return TorchCpuGenerator(seed).randn(shape, DType::f32);
}

struct Outcome {
  Schedule schedule;
  std::vector<float> latents;
};

Outcome replay(const json& test, const std::string& class_name) {
  json config = test["config"];
  config["_class_name"] = class_name;
  const json overrides = test.contains("eta") ? json{{"eta", test["eta"]}} : json::object();
  StepRequest request{.steps = test["steps"], .sigmas = {}, .image_tokens = test.value("tokens", 0)};
  if (test.contains("sigmas")) {
    request.sigmas = test["sigmas"] == "even" ? even_sigmas(request.steps) : test["sigmas"].get<std::vector<double>>();
  }
  Outcome outcome{make_schedule(parse_scheduler_config(config.dump(), "scheduler_config.json", overrides, {}), request),
                  {}};
  const Schedule& schedule = outcome.schedule;

  const Tensor noise = normals(1), clean = normals(3);
  TorchCpuGenerator fresh(2);
  std::vector<float> start = noise.to_vector();
  for (float& v : start) v *= static_cast<float>(schedule.init_noise_sigma);
  Tensor x = Tensor::from(std::span<const float>(start), shape);
  Run run{.schedule = schedule, .noise = [&](const Shape& s) { return fresh.randn(s, DType::f32); }};
  if (test.contains("strength")) {
    run.begin = begin_index(schedule, test["strength"]);
    EXPECT_EQ(run.begin, test["begin"].get<int>());
    x = add_noise(schedule, clean, noise, run.begin);
  }
  if (test.contains("inpaint")) {
    run.on_step = [&](const Evaluation& at, const Tensor& state, const Tensor&) {
      const bool last = at.index + 1 == static_cast<int>(schedule.evaluations.size());
      const std::vector<float> known = (last ? clean : add_noise(schedule, clean, noise, at.index + 1)).to_vector();
      std::vector<float> mixed = state.to_vector();
      for (size_t i = 0; i < mixed.size(); ++i) {
        if (i % 3 != 0) mixed[i] = known[i];
      }
      return Tensor::from(std::span<const float>(mixed), state.shape());
    };
  }
  outcome.latents = sample(toy, x, run).to_vector();
  return outcome;
}

double largest_error_over_std(const std::vector<float>& got, const std::vector<double>& wanted) {
  double mean = 0, variance = 0, error = 0;
  for (double v : wanted) mean += v / static_cast<double>(wanted.size());
  for (double v : wanted) variance += (v - mean) * (v - mean) / static_cast<double>(wanted.size());
  for (size_t i = 0; i < got.size(); ++i) error = std::max(error, std::abs(static_cast<double>(got[i]) - wanted[i]));
  return std::isfinite(error) ? error / std::sqrt(variance) : INFINITY;
}

// Fixtures of DPM-Solver and UniPC on flow sigmas have names of their own.
std::string class_of(std::string name) {
  if (name.ends_with("Flow")) name.resize(name.size() - 4);
  return name + "Scheduler";
}

class Trajectories : public ::testing::TestWithParam<const char*> {};

TEST_P(Trajectories, EqualDiffusers) {
  std::ifstream file(std::string(HEDDLE_FIXTURES) + "/samplers/" + GetParam() + ".json");
  const json cases = json::parse(file);
  ASSERT_GT(cases.size(), 30u);
  double worst = 0;
  int compared = 0;
  for (const json& test : cases) {
    if (test["final"].is_null()) {
      // diffusers refuses it or ends in nothing finite: no crash here, and no promise.
      try {
        replay(test, class_of(GetParam()));
      } catch (const Error&) {
      }
      continue;
    }
    Outcome outcome;
    ASSERT_NO_THROW(outcome = replay(test, class_of(GetParam()))) << test.dump();
    const std::vector<double> timesteps = test["timesteps"];
    ASSERT_EQ(outcome.schedule.evaluations.size(), timesteps.size()) << test.dump();
    for (size_t i = 0; i < timesteps.size(); ++i) {
      // Whole timesteps are equal. Fractional ones come from logarithms of f32 tables, in whose last bit libraries
      // differ.
      EXPECT_NEAR(outcome.schedule.evaluations[i].timestep, timesteps[i], 1e-3) << test.dump() << " at " << i;
    }
    const double sigma = test["init_noise_sigma"];
    EXPECT_NEAR(outcome.schedule.init_noise_sigma, sigma, 1e-6 * sigma) << test.dump();
    const double error = largest_error_over_std(outcome.latents, test["final"]);
    // Where sigmas reach thousands f32 itself loses more than 1e-5, in diffusers as here: "rounding" is diffusers'
    // loss.
    EXPECT_LE(error, 1e-5 + 2 * test["rounding"].get<double>()) << test.dump();
    if (test["rounding"] < 1e-5) worst = std::max(worst, error);
    ++compared;
  }
  std::cout << GetParam() << ": " << compared
            << " runs, largest error / std where diffusers rounds by less than 1e-5: " << worst << "\n";
}

INSTANTIATE_TEST_SUITE_P(Schedulers, Trajectories,
                         ::testing::Values("DDIM", "DDPM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete",
                                           "HeunDiscrete", "LMSDiscrete", "LCM", "DPMSolverMultistep", "UniPCMultistep",
                                           "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "DPMSolverMultistepFlow",
                                           "UniPCMultistepFlow", "DPMSolverSinglestep", "DPMSolverSinglestepFlow",
                                           "DEISMultistep", "DEISMultistepFlow", "KDPM2Discrete",
                                           "KDPM2AncestralDiscrete", "TCD", "EDMEuler", "EDMDPMSolverMultistep"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace heddle
