// The seams of a run: the callback, the noise source, dtypes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/random.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

Schedule schedule_of(const std::string& sampler, int steps) {
  const bool flow = sampler == "rf2" || sampler == "fireflow";
  const std::string text = flow ? R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})"
                                : R"({"_class_name": "DDIMScheduler", "clip_sample": false})";
  return make_schedule(parse_scheduler_config(text, "test", nlohmann::json::object(), sampler), steps);
}

Tensor half(const Tensor& x, const Evaluation&) {
  return scale(x, 0.5);
}

class EverySampler : public ::testing::TestWithParam<std::string> {};

TEST_P(EverySampler, CallsBackAfterEachEvaluationAndGoesOnFromWhatItReturns) {
  const Schedule schedule = schedule_of(GetParam(), 6);
  TorchCpuGenerator generator(0);
  std::vector<int> indices;
  const NoiseSource noise = [&](const Shape& shape) { return generator.randn(shape, DType::f32); };
  const heddle::Run run{
      .schedule = schedule, .noise = noise, .on_step = [&](const Evaluation& at, const Tensor& x, const Tensor& clean) {
        EXPECT_EQ(clean.shape(), x.shape());
        EXPECT_EQ(at.index, static_cast<int>(indices.size()));
        indices.push_back(at.index);
        return at.index + 1 == static_cast<int>(schedule.evaluations.size()) ? Tensor::full(x.shape(), 3) : x;
      }};
  const Tensor out = sample(half, Tensor::full({2, 3}, 1), run);
  EXPECT_EQ(indices.size(), schedule.evaluations.size());
  EXPECT_EQ(out.to_vector(), std::vector<float>(6, 3));
}

TEST_P(EverySampler, ThrowingFromTheCallbackEndsTheRun) {
  const Schedule schedule = schedule_of(GetParam(), 6);
  int calls = 0;
  const Denoise counted = [&](const Tensor& x, const Evaluation&) {
    ++calls;
    return scale(x, 0.5);
  };
  const heddle::Run run{.schedule = schedule,
                        .noise = [](const Shape& shape) { return Tensor::zeros(shape); },
                        .on_step =
                            [](const Evaluation& at, const Tensor& x, const Tensor&) {
                              if (at.index == 2) throw Error(ErrorCode::cancelled, "stop");
                              return x;
                            }};
  EXPECT_THROW(sample(counted, Tensor::full({2}, 1), run), Error);
  EXPECT_EQ(calls, 3);
}

// The state stays f32 whatever the network's dtype; only its answers are rounded.
TEST_P(EverySampler, ComputesInF32AroundABf16Network) {
  const Schedule schedule = schedule_of(GetParam(), 6);
  const Denoise rounded = [](const Tensor& x, const Evaluation&) {
    EXPECT_EQ(x.dtype(), DType::f32);
    return to(scale(x, 0.5), DType::bf16);
  };
  const NoiseSource none = [](const Shape& shape) { return Tensor::zeros(shape); };
  const Tensor x = TorchCpuGenerator(1).randn({64}, DType::f32);
  const Tensor exact = sample(half, x, {.schedule = schedule, .noise = none});
  const Tensor got = sample(rounded, x, {.schedule = schedule, .noise = none});
  EXPECT_EQ(got.dtype(), DType::f32);
  const std::vector<float> a = exact.to_vector(), b = got.to_vector();
  float largest = 0, error = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i]));
    error = std::max(error, std::abs(a[i] - b[i]));
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.1f * largest);
}

TEST_P(EverySampler, DrawsNoiseOnlyWhereItSays) {
  const Schedule schedule = schedule_of(GetParam(), 6);
  int draws = 0;
  const heddle::Run run{.schedule = schedule, .noise = [&](const Shape& shape) {
                          ++draws;
                          return Tensor::zeros(shape);
                        }};
  sample(half, Tensor::full({2}, 1), run);
  EXPECT_EQ(draws > 0, draws_noise(schedule.config));
}

TEST(Sampler, WrongShapeAndMissingNoiseAreErrors) {
  const Schedule ddim = schedule_of("ddim", 4), ancestral = schedule_of("euler_ancestral", 4);
  EXPECT_THROW(sample([](const Tensor&, const Evaluation&) { return Tensor::zeros({3}); }, Tensor::zeros({2}),
                      {.schedule = ddim}),
               Error);
  EXPECT_THROW(sample(half, Tensor::zeros({2}), {.schedule = ancestral}), Error);
  EXPECT_THROW(sample(half, Tensor::zeros({2}), {.schedule = ddim, .begin = 4}), Error);
}

INSTANTIATE_TEST_SUITE_P(Samplers, EverySampler, ::testing::ValuesIn(sampler_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace heddle
