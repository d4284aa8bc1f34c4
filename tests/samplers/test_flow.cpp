// Rectified flows on data whose flow is known: normal data of mean m and deviation s, for which the velocity is linear
// in x and the exact map between two shares of noise is known.
#include <gtest/gtest.h>

#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "samplers/inversion.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

constexpr double m = 0.7, s = 0.3;
const std::string flow_file = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0})";

double variance(double t) {
  return (1 - t) * (1 - t) * s * s + t * t;
}

double exact(double x, double from, double to) {
  return (1 - to) * m + std::sqrt(variance(to) / variance(from)) * (x - (1 - from) * m);
}

Tensor gaussian(const Tensor& x, const Evaluation& at) {
  const double t = at.sigma;
  std::vector<float> values = x.to_vector();
  for (float& value : values) {
    const double d = value - (1 - t) * m;
    value = static_cast<float>(t / variance(t) * d - m - (1 - t) * s * s / variance(t) * d);
  }
  return Tensor::from(std::span<const float>(values), x.shape());
}

Schedule schedule_of(const std::string& sampler, int steps, const nlohmann::json& keys = nlohmann::json::object()) {
  const SchedulerConfig config = parse_scheduler_config(flow_file, "test", keys, sampler);
  const bool own = config.solver == Solver::dpm_multistep;  // whose sigmas are its own
  return make_schedule(config, {.steps = steps, .sigmas = own ? std::vector<double>() : even_sigmas(steps)});
}

struct Errors {
  double inversion = 0, round_trip = 0;
  int calls = 0;  // of each direction
};

Errors round_trip(const std::string& sampler, int steps) {
  const Schedule schedule = schedule_of(sampler, steps);
  constexpr double clean = 1.3;  // noise 2
  const std::vector<Tensor> states = invert(gaussian, Tensor::full({1}, static_cast<float>(clean)),
                                            {.schedule = schedule, .method = Inversion::solver});
  const Tensor back = sample(gaussian, states.front(), {.schedule = schedule});
  return {std::abs(states.front().to_vector()[0] - exact(clean, 0, 1)), std::abs(back.to_vector()[0] - clean),
          static_cast<int>(schedule.evaluations.size())};
}

double sampling_error(const std::string& sampler, int steps) {
  const Schedule schedule = schedule_of(sampler, steps);
  const double first = schedule.sigmas.front();
  const Tensor start = Tensor::full({1}, static_cast<float>(exact(2, 1, first)));
  return std::abs(sample(gaussian, start, {.schedule = schedule}).to_vector()[0] - exact(2, 1, 0));
}

TEST(Flow, GaussianRoundTripsAsTheTableSays) {
  struct Row {
    const char* sampler;
    int steps, calls;
    double inversion, round_trip;
  };
  for (const Row& row : {Row{"euler", 16, 16, 2.3e-1, 1.3e-1}, Row{"euler", 64, 64, 5.9e-2, 3.5e-2},
                         Row{"rf2", 8, 16, 2.3e-3, 1.4e-3}, Row{"rf2", 32, 64, 3.8e-5, 2.3e-5},
                         Row{"fireflow", 15, 16, 9.4e-3, 1.6e-3}, Row{"fireflow", 63, 64, 4.0e-4, 2.4e-5}}) {
    const Errors got = round_trip(row.sampler, row.steps);
    EXPECT_EQ(got.calls, row.calls) << row.sampler;
    EXPECT_NEAR(got.inversion, row.inversion, 0.04 * row.inversion) << row.sampler << " " << row.steps;
    EXPECT_NEAR(got.round_trip, row.round_trip, 0.04 * row.round_trip) << row.sampler << " " << row.steps;
  }
}

// DPM-Solver's first and last steps are long in log-SNR however many there are, which costs it part of its order.
TEST(Flow, OrdersOfConvergence) {
  struct Row {
    const char* sampler;
    int steps;  // where the order shows and f32 does not yet
    double low, high;
  };
  for (const Row& row : {Row{"euler", 64, 0.9, 1.1}, Row{"heun", 32, 1.9, 2.3}, Row{"rf2", 8, 1.9, 3.1},
                         Row{"fireflow", 64, 1.7, 2.2}, Row{"dpmpp_2m", 64, 1.4, 2.5}, Row{"unipc", 64, 1.7, 3.5}}) {
    std::ostringstream line;
    line << std::setw(10) << row.sampler << std::scientific << std::setprecision(1);
    for (const int steps : {4, 8, 16, 32, 64, 128}) line << "  " << sampling_error(row.sampler, steps);
    const double order = std::log2(sampling_error(row.sampler, row.steps) / sampling_error(row.sampler, 2 * row.steps));
    std::cout << line.str() << "  order at " << row.steps << ": " << order << "\n";
    EXPECT_GE(order, row.low) << row.sampler;
    EXPECT_LE(order, row.high) << row.sampler;
  }
  EXPECT_GE(std::log2(round_trip("rf2", 8).inversion / round_trip("rf2", 16).inversion), 1.9);
  EXPECT_NEAR(std::log2(round_trip("euler", 16).inversion / round_trip("euler", 32).inversion), 1, 0.1);
}

TEST(Flow, SecondOrderTaylorStepIsTheMidpointRule) {
  const Schedule schedule = schedule_of("rf2", 9, {{"shift", 3.0}});
  double x = 2;
  for (size_t k = 0; k < 9; ++k) {
    const double t = schedule.step_sigmas[k], h = schedule.step_sigmas[k + 1] - t;
    const auto v = [](double at, double time) {
      const double d = at - (1 - time) * m;
      return time / variance(time) * d - m - (1 - time) * s * s / variance(time) * d;
    };
    const double first = v(x, t), slope = (v(x + h / 2 * first, t + h / 2) - first) / (h / 2);
    x += h * first + h * h / 2 * slope;
  }
  EXPECT_NEAR(sample(gaussian, Tensor::full({1}, 2), {.schedule = schedule}).to_vector()[0], x, 1e-6);
}

TEST(Flow, SecondOrderBeatsEulerAtEqualCalls) {
  for (const int calls : {8, 16, 50}) {
    EXPECT_LT(round_trip("rf2", calls / 2).round_trip, round_trip("euler", calls).round_trip / 5);
    EXPECT_LT(round_trip("fireflow", calls - 1).round_trip, round_trip("euler", calls).round_trip / 5);
  }
}

TEST(Flow, FixedPointsOfEulersStepComeBackToRounding) {
  const Schedule schedule = schedule_of("euler", 20, {{"shift", 3.0}});
  const Tensor clean = Tensor::full({1}, 1.3f);
  const std::vector<Tensor> states =
      invert(gaussian, clean, {.schedule = schedule, .method = Inversion::fixed_point, .iterations = 40});
  EXPECT_NEAR(sample(gaussian, states.front(), {.schedule = schedule}).to_vector()[0], 1.3, 1e-5);
}

// A step has one number in both directions, and the middle of a step one level.
TEST(Flow, MomentsOfBothDirections) {
  struct Seen {
    int step, stage;
    float sigma;
    bool operator==(const Seen&) const = default;
  };
  const auto seen_by = [](const std::string& sampler, bool backwards) {
    const Schedule schedule = schedule_of(sampler, 3);
    std::vector<Seen> seen;
    const Denoise watched = [&](const Tensor& x, const Evaluation& at) {
      EXPECT_EQ(at.direction, backwards ? Direction::invert : Direction::denoise);
      EXPECT_EQ(at.steps, 3);
      EXPECT_NEAR(at.timestep, 1000 * at.sigma, 1e-3);
      seen.push_back({at.step, at.stage, std::round(static_cast<float>(at.sigma) * 60)});
      return scale(x, 0.1);
    };
    const Tensor x = Tensor::full({1}, 1);
    if (backwards) {
      EXPECT_EQ(invert(watched, x, {.schedule = schedule, .method = Inversion::solver}).size(),
                schedule.evaluations.size() + 1);
    } else {
      sample(watched, x, {.schedule = schedule});
    }
    return seen;
  };
  EXPECT_EQ(seen_by("euler", false), (std::vector<Seen>{{0, 0, 60}, {1, 0, 40}, {2, 0, 20}}));
  EXPECT_EQ(seen_by("euler", true), (std::vector<Seen>{{2, 0, 0}, {1, 0, 20}, {0, 0, 40}}));
  EXPECT_EQ(seen_by("heun", false), (std::vector<Seen>{{0, 0, 60}, {0, 1, 40}, {1, 0, 40}, {1, 1, 20}, {2, 0, 20}}));
  EXPECT_EQ(seen_by("heun", true), (std::vector<Seen>{{2, 0, 0}, {2, 1, 20}, {1, 0, 20}, {1, 1, 40}, {0, 0, 40}}));
  EXPECT_EQ(seen_by("rf2", false),
            (std::vector<Seen>{{0, 0, 60}, {0, 1, 50}, {1, 0, 40}, {1, 1, 30}, {2, 0, 20}, {2, 1, 10}}));
  EXPECT_EQ(seen_by("rf2", true),
            (std::vector<Seen>{{2, 0, 0}, {2, 1, 10}, {1, 0, 20}, {1, 1, 30}, {0, 0, 40}, {0, 1, 50}}));
  EXPECT_EQ(seen_by("fireflow", false), (std::vector<Seen>{{0, 0, 60}, {0, 1, 50}, {1, 1, 30}, {2, 1, 10}}));
  EXPECT_EQ(seen_by("fireflow", true), (std::vector<Seen>{{2, 0, 0}, {2, 1, 10}, {1, 1, 30}, {0, 1, 50}}));
}

// Turns between steps are taken where steps begin and end, whatever their stages.
TEST(Flow, EvaluationsSayWhereStepsBeginAndEnd) {
  struct Row {
    const char* sampler;
    std::string marks;  // of each evaluation: [ begins its step, ] ends it
  };
  for (const Row& row :
       {Row{"euler", "[][][]"}, Row{"rf2", "[ ][ ][ ]"}, Row{"heun", "[ ][ ][]"}, Row{"fireflow", "[ ][][]"}}) {
    std::string marks;
    for (const Evaluation& at : schedule_of(row.sampler, 3).evaluations)
      marks += std::string(at.begins_step ? "[" : " ") + (at.ends_step ? "]" : "");
    EXPECT_EQ(marks, row.marks) << row.sampler;
  }
}

// states[i] stands at the level before evaluation i of the run.
TEST(Flow, InvertedStatesLieOnTheRunsLevels) {
  for (const std::string sampler : {"euler", "heun", "rf2", "fireflow"}) {
    const Schedule schedule = schedule_of(sampler, 200);
    const std::vector<Tensor> states =
        invert(gaussian, Tensor::full({1}, 1.3f), {.schedule = schedule, .method = Inversion::solver});
    ASSERT_EQ(states.size(), schedule.sigmas.size());
    for (size_t i = 0; i < states.size(); ++i)
      EXPECT_NEAR(states[i].to_vector()[0], exact(1.3, 0, schedule.sigmas[i]), 0.03) << sampler << " " << i;
  }
}

TEST(Flow, APictureToPictureRunBeginsOnTheWay) {
  for (const std::string sampler : {"euler", "heun", "rf2", "fireflow", "dpmpp_2m", "unipc"}) {
    const Schedule schedule = schedule_of(sampler, 40);
    const int begin = begin_index(schedule, 0.6);
    const double sigma = schedule.sigmas[static_cast<size_t>(begin)];
    EXPECT_NEAR(sigma, 0.6, 0.02) << sampler;
    const Tensor start = Tensor::full({1}, static_cast<float>(exact(1.3, 0, sigma)));
    EXPECT_NEAR(sample(gaussian, start, {.schedule = schedule, .begin = begin}).to_vector()[0], 1.3,
                sampler == "euler" ? 0.03 : 0.006)
        << sampler;
    EXPECT_EQ(begin_index(schedule, 1), 0);
    EXPECT_EQ(begin_index(schedule, 0.001), begin_index(schedule, 0.025)) << "at least one step runs";
  }
}

// What a callback changes at the middle of a step stays changed: a run whose callback pins the state ends near the pin.
TEST(Flow, FireFlowGoesOnFromWhatCallbacksReturn) {
  const Schedule schedule = schedule_of("fireflow", 10);
  const int last = static_cast<int>(schedule.evaluations.size()) - 1;
  const Tensor out =
      sample([](const Tensor& x, const Evaluation&) { return Tensor::zeros(x.shape()); }, Tensor::full({1}, 5),
             {.schedule = schedule, .noise = {}, .on_step = [&](const Evaluation& at, const Tensor& x, const Tensor&) {
                return at.index + 1 == last ? Tensor::full({1}, 2) : x;
              }});
  EXPECT_EQ(out.to_vector()[0], 2);
}

TEST(Flow, InversionsThatCannotBeAreUsageErrors) {
  const Tensor x = Tensor::full({1}, 1);
  const auto refuses = [&](const Schedule& schedule, Inversion method) {
    try {
      invert(gaussian, x, {.schedule = schedule, .method = method});
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    }
  };
  refuses(schedule_of("euler", 4), Inversion::ddim);
  refuses(schedule_of("euler", 4), Inversion::second_order);
  refuses(schedule_of("rf2", 4), Inversion::fixed_point);
  refuses(schedule_of("unipc", 4), Inversion::solver);
  refuses(schedule_of("euler", 4, {{"stochastic_sampling", true}}), Inversion::solver);
  refuses(make_schedule(parse_scheduler_config(R"({"_class_name": "DDIMScheduler"})", "test"), 4), Inversion::solver);
}

}  // namespace
}  // namespace heddle
