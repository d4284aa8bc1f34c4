// GuidedNetwork: which evaluations of the network a step takes, and what waits in the bank between steps.
#include "pipelines/guided_network.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/preset_file.h"
#include "samplers/random.h"

namespace heddle {
namespace {

// A network that counts its evaluations.
class Counting final : public Denoiser {
 public:
  explicit Counting(const Denoiser& network) : network_(network) {}
  const std::vector<AttentionSite>& sites() const override { return network_.sites(); }
  std::vector<SiteTokens> site_tokens(int64_t height, int64_t width, int64_t text) const override {
    return network_.site_tokens(height, width, text);
  }
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                    AttentionContext& context) const override {
    ++count;
    rows += sample.dim(0);
    skipping += conditioning.skip_blocks.empty() ? 0 : 1;
    return network_(sample, timesteps, conditioning, context);
  }
  mutable int count = 0, skipping = 0;
  mutable int64_t rows = 0;

 private:
  const Denoiser& network_;
};

constexpr int steps = 8, pictures = 2;

struct CountedRun {
  explicit CountedRun(const std::string& method, const Guidance& guidance)
      : model(std::string(HEDDLE_FIXTURES) + "/methods/models/sd1", DType::f32),
        network(model.denoiser()),
        schedule(make_schedule(
            parse_scheduler_config(model.scheduler_text(), "scheduler", nlohmann::json::object(), "ddim"), steps)),
        control(
            preset_from_yaml(parse_yaml("heddle: 1\nmodel: m\nprompt: a cat\nattention: [ " + method + " ]\n", "test"),
                             {.methods = method_names()})),
        x(make_generator("torch-cpu", 1)->randn({pictures, 4, 16, 16})) {
    const Tensor text = make_generator("torch-cpu", 2)->randn({pictures, 77, model.traits().text_width});
    guided.emplace(GuidedNetwork::Parts{.network = network,
                                        .schedule = schedule,
                                        .guidance = guidance,
                                        .cond = {.text = text},
                                        .uncond = {.text = text},
                                        .members = {{"", {}}},
                                        .pictures = pictures,
                                        .height = 16,
                                        .width = 16},
                   control);
  }

  // Evaluations of a step.
  int step(int i) {
    const Evaluation& at = schedule.evaluations[static_cast<size_t>(i)];
    const int before = network.count;
    guided->after(at, guided->predict(guided->before(at, x), at));
    return network.count - before;
  }
  int64_t kept_bytes() { return control.context({}, {}).bank->bytes(); }

  Model model;
  Counting network;
  Schedule schedule;
  Control control;
  Tensor x;
  std::optional<GuidedNetwork> guided;
};

// The extra pass of skip-layer guidance adds to what guidance makes of two branches; one branch alone is used as it is.
TEST(GuidedNetwork, SkipLayerGuidanceEndsWithGuidance) {
  const SkipLayers skip{.blocks = {0}, .scale = 2, .start = 0, .stop = 1};
  CountedRun run("tgate: {gate_step: 3, sp_interval: 1}", {.scale = 5, .skip = skip});
  std::vector<int> evaluations;
  for (int i = 0; i < steps; ++i) evaluations.push_back(run.step(i));
  EXPECT_EQ(evaluations, (std::vector<int>{1, 2, 2, 1, 1, 1, 1, 1}));  // `start` itself is left out
  EXPECT_EQ(run.network.skipping, 2);
}

// Outside its interval the prompt is evaluated alone, and what methods add beside guidance goes on.
TEST(GuidedNetwork, GuidanceHoldsInItsInterval) {
  const auto rows = [](const std::string& method) {
    CountedRun run(method, {.scale = 5, .steps = {.begin = 2, .end = 5}});
    std::vector<int64_t> out;
    for (int i = 0; i < steps; ++i) {
      run.network.rows = 0;
      run.step(i);
      out.push_back(run.network.rows / pictures);
    }
    return out;
  };
  EXPECT_EQ(rows(""), (std::vector<int64_t>{1, 1, 2, 2, 2, 1, 1, 1}));
  EXPECT_EQ(rows("perturbed_attention: {scale: 3}"), (std::vector<int64_t>{2, 2, 3, 3, 3, 2, 2, 2}));
}

// T-GATE keeps self-attention for the steps to the gate and cross-attention for those behind it.
TEST(GuidedNetwork, WhatNoLaterStepReadsLeavesTheBank) {
  CountedRun run("tgate: {gate_step: 6, warm_up: 1, sp_interval: 2}", {.scale = 5});
  const Denoiser& unet = run.model.denoiser();
  const std::vector<SiteTokens> tokens = unet.site_tokens(16, 16, 77);
  int64_t self = 0, cross = 0;  // of one branch
  for (const AttentionSite& site : unet.sites()) {
    const int64_t queries = token_count(tokens[static_cast<size_t>(site.depth)].query);
    (site.kind == AttentionKind::self ? self : cross) += pictures * queries * site.heads * site.head_dim * 4;
  }
  std::vector<int64_t> bytes;
  for (int i = 0; i < steps; ++i) {
    run.step(i);
    bytes.push_back(run.kept_bytes());
  }
  EXPECT_EQ(bytes, (std::vector<int64_t>{0, 2 * self, 2 * self, 0, 0, cross, cross, 0}));
}

}  // namespace
}  // namespace heddle
