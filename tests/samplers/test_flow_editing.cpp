// RF-Solver, FireFlow, RF-Inversion and FlowEdit against their papers' formulas; fixtures by
// tools/fixtures/flow_editing.py.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/flow_edit.h"
#include "samplers/inversion.h"
#include "samplers/random.h"
#include "samplers/rf_inversion.h"

namespace heddle {
namespace {

using nlohmann::json;

const Shape shape{2, 4, 2};

Tensor of_source(const Tensor& x, const Evaluation& at) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = 0.7f * v + 0.2f * std::sin(v) + static_cast<float>(0.1 * at.sigma);
  return Tensor::from(std::span<const float>(values), x.shape());
}

Tensor of_target(const Tensor& x, const Evaluation& at) {
  std::vector<float> values = of_source(x, at).to_vector(), states = x.to_vector();
  for (size_t i = 0; i < values.size(); ++i) values[i] += 0.3f * std::cos(states[i]);
  return Tensor::from(std::span<const float>(values), x.shape());
}

// Lanes as rows: the source's first.
Tensor of_both(const Tensor& x, const Evaluation& at) {
  const int64_t rows = x.dim(0) / 2;
  return concat({of_source(slice(x, 0, 0, rows), at), of_target(slice(x, 0, rows, 2 * rows), at)}, 0);
}

Tensor normals(uint64_t seed) {
  return TorchCpuGenerator(seed).randn(shape, DType::f32);
}

Schedule schedule_of(const std::string& sampler, int steps) {
  const std::string text = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})";
  return make_schedule(parse_scheduler_config(text, "test", json::object(), sampler),
                       {.steps = steps, .sigmas = even_sigmas(steps)});
}

Tensor inverted_by(const Denoise& denoise, const Schedule& schedule) {
  return invert(denoise, normals(3), {.schedule = schedule, .method = Inversion::solver}).front();
}

Tensor edited(const Denoise& denoise, const Schedule& schedule, int n_max, int n_min, int n_avg) {
  TorchCpuGenerator fresh(2);
  return flow_edit(denoise, normals(3),
                   {.schedule = schedule, .n_max = n_max, .n_min = n_min, .n_avg = n_avg, .noise = [&](const Shape& s) {
                      return fresh.randn(s, DType::f32);
                    }});
}

Tensor replay(const json& test) {
  const std::string kind = test["kind"];
  const int steps = test["steps"];
  if (kind == "flow_edit")
    return edited(of_both, schedule_of("euler", steps), test["n_max"], test["n_min"], test["n_avg"]);
  const Schedule schedule =
      schedule_of(kind.starts_with("rf_inversion") ? "euler" : kind.substr(0, kind.find('_')), steps);
  if (kind == "rf_inversion_forward")
    return inverted_by(drawn_to_noise(of_source, normals(1), test["gamma"], schedule.config), schedule);
  if (kind == "rf_inversion_reverse") {
    const EtaSchedule eta{test["eta"], test["begin"], test["end"], test["decay"]};
    return sample(drawn_to_picture(of_target, normals(3), eta, schedule.config), normals(1), {.schedule = schedule});
  }
  if (kind.ends_with("_inversion")) return inverted_by(of_source, schedule);
  return sample(of_source, normals(1), {.schedule = schedule});
}

double largest_difference(const Tensor& a, const std::vector<double>& b) {
  const std::vector<float> values = a.to_vector();
  double worst = values.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < b.size() && i < values.size(); ++i)
    worst = std::fmax(worst, std::abs(static_cast<double>(values[i]) - b[i]));
  return worst;
}

TEST(FlowEditing, EqualsThePapersFormulas) {
  std::ifstream file(std::string(HEDDLE_FIXTURES) + "/samplers/flow_editing.json");
  const json cases = json::parse(file);
  ASSERT_GT(cases.size(), 40u);
  for (json test : cases) {
    const std::vector<double> wanted = test["final"];
    test.erase("final");
    EXPECT_LE(largest_difference(replay(test), wanted), 5e-6) << test.dump();
  }
}

TEST(FlowEditing, FullStrengthLeadsStraightToTheGoal) {
  const Schedule schedule = schedule_of("euler", 8);
  const std::vector<float> noise = normals(1).to_vector(), picture = normals(3).to_vector();
  const Tensor there = inverted_by(drawn_to_noise(of_source, normals(1), 1, schedule.config), schedule);
  const Tensor back =
      sample(drawn_to_picture(of_target, normals(3), {1, 0, 1, 0}, schedule.config), there, {.schedule = schedule});
  EXPECT_LE(largest_difference(there, {noise.begin(), noise.end()}), 2e-6);
  EXPECT_LE(largest_difference(back, {picture.begin(), picture.end()}), 2e-6);
}

TEST(FlowEditing, EtaIsAWindowThatMayFallOff) {
  const EtaSchedule eta{0.8, 0.1, 0.5, 2};
  EXPECT_EQ(eta.at(0, 10), 0);
  EXPECT_DOUBLE_EQ(eta.at(1, 10), 0.8 * 0.81);
  EXPECT_DOUBLE_EQ(eta.at(4, 10), 0.8 * 0.36);
  EXPECT_EQ(eta.at(5, 10), 0);
}

// The network's sign and clock turned round (invert_sigmas), the states stay.
TEST(FlowEditing, AReversedNetworkIsDrawnAlike) {
  const std::string text = R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": true, "shift": 3.0})";
  const Schedule plain = schedule_of("euler", 6),
                 reversed = make_schedule(parse_scheduler_config(text, "test"), {.steps = 6, .sigmas = even_sigmas(6)});
  const Denoise negated = [](const Tensor& x, const Evaluation& at) {
    EXPECT_NEAR(at.timestep, 1000 * (1 - at.sigma), 1e-3);
    return scale(of_source(x, at), -1);
  };
  const auto out = [&](const Denoise& denoise, const Schedule& schedule) {
    return sample(drawn_to_picture(denoise, normals(3), {0.7, 0, 0.5, 0}, schedule.config), normals(1),
                  {.schedule = schedule});
  };
  const std::vector<float> wanted = out(of_source, plain).to_vector();
  EXPECT_LE(largest_difference(out(negated, reversed), {wanted.begin(), wanted.end()}), 1e-6);
}

TEST(FlowEditing, OnePromptForBothLeavesThePicture) {
  const Denoise same = [](const Tensor& x, const Evaluation& at) { return of_source(x, at); };
  const std::vector<float> picture = normals(3).to_vector();
  EXPECT_LE(largest_difference(edited(same, schedule_of("euler", 10), 8, 0, 2), {picture.begin(), picture.end()}),
            2e-6);
}

// Where a network of the target alone is given, the source's half is left out of the steps that do not need it.
TEST(FlowEditing, AsksTheTargetAloneWhereItSamples) {
  const Schedule schedule = schedule_of("euler", 10);
  int pairs = 0, alone = 0;
  const Denoise both = [&](const Tensor& x, const Evaluation& at) {
    ++pairs;
    return of_both(x, at);
  };
  const Denoise target = [&](const Tensor& x, const Evaluation& at) {
    ++alone;
    return slice(of_both(concat({x, x}, 0), at), 0, x.dim(0), 2 * x.dim(0));
  };
  const auto run = [&](const Denoise& one) {
    return flow_edit(both, normals(3),
                     {.schedule = schedule,
                      .n_max = 7,
                      .n_min = 2,
                      .noise = [](const Shape& s) { return Tensor::full(s, 0.5f); },
                      .target = one});
  };
  const std::vector<float> expected = run({}).to_vector();
  pairs = 0;
  EXPECT_EQ(run(target).to_vector(), expected);
  EXPECT_EQ(pairs, 5);
  EXPECT_EQ(alone, 2);
}

TEST(FlowEditing, CountsCallsAndNoises) {
  int calls = 0, draws = 0, steps = 0;
  const Denoise counted = [&](const Tensor& x, const Evaluation& at) {
    EXPECT_EQ(x.dim(0), 4);
    ++calls;
    return of_both(x, at);
  };
  const Schedule schedule = schedule_of("euler", 10);
  flow_edit(counted, normals(3),
            {.schedule = schedule,
             .n_max = 7,
             .n_min = 2,
             .n_avg = 3,
             .noise =
                 [&](const Shape& s) {
                   ++draws;
                   return Tensor::zeros(s);
                 },
             .on_step =
                 [&](const Evaluation& at, const Tensor& x, const Tensor& clean) {
                   EXPECT_EQ(at.index, 3 + steps++);
                   EXPECT_EQ(clean.shape(), x.shape());
                   return x;
                 }});
  EXPECT_EQ(calls, 5 * 3 + 2);
  EXPECT_EQ(draws, 5 * 3 + 1);
  EXPECT_EQ(steps, 7);
}

TEST(FlowEditing, WhatCannotBeIsRefused) {
  const auto refused = [](ErrorCode code, const std::function<void()>& act) {
    try {
      act();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
  };
  const Schedule euler = schedule_of("euler", 5);
  refused(ErrorCode::usage, [&] { edited(of_both, euler, 6, 0, 1); });
  refused(ErrorCode::usage, [&] { edited(of_both, euler, 0, 0, 1); });
  refused(ErrorCode::usage, [&] { edited(of_both, euler, 3, 4, 1); });
  refused(ErrorCode::usage, [&] { edited(of_both, euler, 3, 0, 0); });
  refused(ErrorCode::usage, [&] { edited(of_both, schedule_of("rf2", 5), 3, 0, 1); });
  const Denoise one_lane = [](const Tensor& x, const Evaluation&) { return slice(x, 0, 0, 1); };
  refused(ErrorCode::internal, [&] { edited(one_lane, euler, 3, 0, 1); });
  const SchedulerConfig ddim = parse_scheduler_config(R"({"_class_name": "DDIMScheduler"})", "test");
  refused(ErrorCode::internal, [&] { drawn_to_noise(of_source, normals(1), 0.5, ddim); });
}

}  // namespace
}  // namespace heddle
