// Solvers on data whose flow is known: normal data of deviation s, where the best clean estimate is linear in x and the
// probability-flow ODE has the solution x(sigma) ~ sqrt(s^2 + sigma^2) in units of the signal.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "samplers/sampler.h"

namespace heddle {
namespace {

constexpr double s = 0.7;

// The exact noise prediction; x comes scaled so that signal^2 + noise^2 = 1.
Tensor gaussian(const Tensor& x, const Evaluation& at) {
  const double signal2 = 1 / (1 + at.sigma * at.sigma), noise2 = 1 - signal2;
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = static_cast<float>(v * std::sqrt(noise2) / (signal2 * s * s + noise2));
  return Tensor::from(std::span<const float>(values), x.shape());
}

double growth(double sigma) {
  return std::sqrt(s * s + sigma * sigma);
}

// Relative error of the state, in units of the signal, at the last level above 0.
double error_of(const std::string& text, int steps) {
  const Schedule schedule = make_schedule(parse_scheduler_config(text, "test"), steps);
  const Level first = schedule.level(0);
  double sigma = schedule.evaluations[0].sigma, x = growth(sigma);
  double last_sigma = sigma, last = x;
  const Run run{.schedule = schedule, .on_step = [&](const Evaluation& at, const Tensor& state, const Tensor&) {
                  const bool ends = at.index + 1 == static_cast<int>(schedule.evaluations.size());
                  double a = ends ? schedule.final_alpha_cumprod : 0, signal = std::sqrt(a);
                  if (!ends || !schedule.sigmas.empty()) {
                    const double next =
                        ends ? schedule.sigmas.back() : schedule.evaluations[static_cast<size_t>(at.index) + 1].sigma;
                    signal = schedule.config.solver == Solver::euler || schedule.config.solver == Solver::heun ||
                                     schedule.config.solver == Solver::dpm2
                                 ? 1
                                 : 1 / std::sqrt(1 + next * next);
                    a = 1 / (1 + next * next);
                  }
                  if (a < 1) {
                    last_sigma = std::sqrt((1 - a) / a);
                    last = state.to_vector()[0] / signal;
                  }
                  return state;
                }};
  sample(gaussian, Tensor::full({1}, static_cast<float>(x * first.signal)), run);
  return std::abs(last / growth(last_sigma) - 1);
}

double order_of(const std::string& text, int steps) {
  return std::log2(error_of(text, steps) / error_of(text, 2 * steps));
}

// A config of this class with more keys.
std::string config_of(std::string_view class_name, std::string_view keys) {
  std::string text = "{\"_class_name\": \"";
  text.append(class_name).append("\", ").append(keys).append("}");
  return text;
}

// The same on Karras sigmas from 10 to 0.1; the step from there to 0, of a size that does not shrink, is not measured.
std::string karras(std::string_view class_name, std::string_view keys) {
  std::string text(
      R"("use_karras_sigmas": true, "sigma_min": 0.1, "sigma_max": 10, "beta_schedule": "scaled_linear", )");
  text.append(R"("beta_start": 0.00085, "beta_end": 0.012, )").append(keys);
  return config_of(class_name, text);
}

const std::string ddim = config_of("DDIMScheduler", R"("set_alpha_to_one": false, "clip_sample": false)");

TEST(Convergence, FirstOrder) {
  EXPECT_NEAR(order_of(ddim, 50), 1, 0.15);
  EXPECT_NEAR(order_of(karras("EulerDiscreteScheduler", R"("final_sigmas_type": "zero")"), 40), 1, 0.1);
}

TEST(Convergence, SecondOrder) {
  EXPECT_NEAR(order_of(karras("HeunDiscreteScheduler", R"("steps_offset": 0)"), 20), 2, 0.2);
  EXPECT_NEAR(
      order_of(karras("DPMSolverMultistepScheduler", R"("lower_order_final": false, "solver_type": "heun")"), 20), 2,
      0.2);
  EXPECT_NEAR(
      order_of(karras("DPMSolverMultistepScheduler", R"("lower_order_final": false, "solver_type": "midpoint")"), 20),
      2, 0.2);
}

TEST(Convergence, SinglestepDeisAndMiddles) {
  EXPECT_NEAR(order_of(karras("DPMSolverSinglestepScheduler", R"("solver_order": 2)"), 40), 2, 0.2);
  const double second = error_of(karras("DPMSolverSinglestepScheduler", R"("solver_order": 2)"), 43);
  EXPECT_LT(error_of(karras("DPMSolverSinglestepScheduler", R"("solver_order": 3, "solver_type": "heun")"), 43),
            second / 5);
  EXPECT_NEAR(order_of(karras("DEISMultistepScheduler", R"("solver_order": 2)"), 40), 2, 0.2);
  EXPECT_NEAR(order_of(karras("KDPM2DiscreteScheduler", R"("steps_offset": 0)"), 20), 2, 0.2);
}

TEST(Convergence, UniPcGainsAnOrderOverItsPredictor) {
  EXPECT_GT(order_of(karras("UniPCMultistepScheduler", R"("solver_order": 2)"), 20), 2.3);
  std::string steps(R"("disable_corrector": [0)");
  for (int i = 1; i < 50; ++i) steps.append(",").append(std::to_string(i));
  EXPECT_NEAR(order_of(karras("UniPCMultistepScheduler", steps.append("]")), 20), 2, 0.3);
}

TEST(Convergence, MoreAnswersAreBetter) {
  const double first = error_of(karras("DPMSolverMultistepScheduler", R"("solver_order": 1)"), 40);
  EXPECT_LT(error_of(karras("DPMSolverMultistepScheduler", R"("solver_order": 2)"), 40), first / 5);
  const double plain = error_of(ddim, 50);
  EXPECT_LT(error_of(config_of("PNDMScheduler", R"("skip_prk_steps": true)"), 50), plain / 5);
  EXPECT_LT(error_of(config_of("PNDMScheduler", R"("skip_prk_steps": false)"), 50), plain / 5);
}

}  // namespace
}  // namespace heddle
