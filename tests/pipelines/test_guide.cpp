// Guidance by losses: the gradient that moves the latents against differences of the loss itself.
#include "pipelines/guide.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "io/preset_file.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"
#include "pipelines/guided_network.h"
#include "samplers/random.h"

namespace heddle {
namespace {

const std::string folder = std::string(HEDDLE_FIXTURES) + "/methods/models/sd1";

Tensor normals(const Shape& shape, uint64_t seed) {
  return make_generator("torch-cpu", seed)->randn(shape);
}

// "a cat and a red hat", one token a word.
Member member() {
  PromptTokens words{.text = "a cat and a red hat", .tokens = {}, .end = 7, .length = 77};
  const size_t ends[] = {1, 5, 9, 11, 15, 19};
  for (size_t i = 0, begin = 0; i < 6; begin = ends[i] + 1, ++i)
    words.tokens.push_back({static_cast<int64_t>(i) + 1, begin, ends[i]});
  return {"", words};
}

class LossGradient : public ::testing::TestWithParam<const char*> {
 protected:
  struct Moved {
    double loss = 0;
    Tensor gradient;
    double share = 0;  // of the latents' norm
  };

  LossGradient()
      : schedule_(make_schedule(
            parse_scheduler_config(model().scheduler_text(), "scheduler", nlohmann::json::object(), "ddim"), 4)) {}

  static Model& model() {
    static Model open(folder, DType::f32);
    return open;
  }

  // One guided step from x at step 1. Every method here moves by length 10000, so that the latents' own digits do not
  // hide the gradient.
  Moved move(const Tensor& x) {
    const std::string text =
        "heddle: 1\nmodel: m\nprompt: a cat and a red hat\nattention: [ " + std::string(GetParam()) + " ]\n";
    Control control(preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()}));
    const int64_t width = model().traits().text_width;
    GuidedNetwork network({.network = model().denoiser(),
                           .schedule = schedule_,
                           .guidance = {.scale = 5},
                           .cond = {.text = scale(normals({1, 77, width}, 2), 0.3)},
                           .uncond = {.text = scale(normals({1, 77, width}, 3), 0.3)},
                           .members = {member()},
                           .pictures = 1,
                           .height = 16,
                           .width = 16},
                          control);
    const Tensor moved = network.before(schedule_.evaluations[1], x);
    const GuideRecord& record = network.losses().front();
    return {record.loss, scale(subtract(x, moved), 1e-4), record.moved};
  }

  Schedule schedule_;
};

TEST_P(LossGradient, AgreesWithDifferences) {
  const Tensor x = normals({1, 4, 16, 16}, 1);
  const Tensor gradient = move(x).gradient;
  const std::vector<float> g = gradient.to_vector();
  double norm = 0;
  for (const float v : g) norm += static_cast<double>(v) * v;
  norm = std::sqrt(norm);

  ASSERT_GT(norm, 1e-6);
  // Along the gradient, by Richardson's extrapolation of central differences.
  const auto slope = [&](double h) {
    return (move(weighted_sum(1, x, h / norm, gradient)).loss - move(weighted_sum(1, x, -h / norm, gradient)).loss) /
           (2 * h);
  };
  const double h = 0.02;
  const double difference = (4 * slope(h / 2) - slope(h)) / 3;
  EXPECT_NEAR(difference / norm, 1, 1e-3);
}

// The record of an update tells its length in the latents' own measure.
TEST_P(LossGradient, RecordsHowFarTheLatentsWereMoved) {
  const Tensor x = normals({1, 4, 16, 16}, 1);
  const Moved one = move(x);
  const double share = 1e4 * std::sqrt(sum(square(one.gradient)).item() / sum(square(x)).item());
  EXPECT_NEAR(one.share / share, 1, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, LossGradient,
    ::testing::Values(
        "attend_and_excite: {subject_tokens: [cat, hat], attention_res: 8, steps_fraction: 1, scale: 10000, "
        "scale_range: [1, 1], thresholds: {}}",
        "a_star: {concept_tokens: [cat, hat], attention_res: 8, step_size: {scale: 10000, range: [1, 1]}}",
        "bounded_attention: {subject_tokens: [cat, [red, hat]], boxes: [[0, 0.2, 0.4, 0.8], [0.6, 0.2, 1, 0.8]], "
        "guidance: {iters: 1, steps_fraction: 1, "
        "step_start: 10000, step_end: 10000}}"),
    [](const auto& info) { return std::string(info.param, std::string(info.param).find(':')); });

}  // namespace
}  // namespace heddle
