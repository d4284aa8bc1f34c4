// Networks against the fixtures that diffusers made for them: `run(network, first input, io, context)` evaluates one.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/explain.h"
#include "io/safetensors.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "tests/support/compare.h"
#include "tests/support/network.h"

namespace heddle::testing {

inline std::string folder_of(const std::string& name) {
  return std::string(HEDDLE_FIXTURES) + "/unet_dit/" + name;
}

// Names of the component folders in a folder of fixtures.
inline std::vector<std::string> fixtures_in(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(name))) {
    if (std::filesystem::exists(entry.path() / "config.json")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

template <class Network, class Run>
void expect_parity(Network& network, const std::string& folder, const Run& run) {
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "checkpointing" : "saved activations");
    network.set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;  // a checkpointed block reads it again in the backward sweep
    const Tensor x = tape.watch(io.at("hidden_states"));
    const Tensor out = run(network, x, io, context);
    EXPECT_LE(error_over_std(out, io.at("expected.sample")), 2e-4);
    EXPECT_LE(error_over_std(tape.gradient(out, x, io.at("cotangent")), io.at("expected.vjp")), 1e-3);
  }
  AttentionContext context;  // without a tape other kernels run
  EXPECT_LE(error_over_std(run(network, io.at("hidden_states"), io, context), io.at("expected.sample")), 2e-4);
}

template <class Network, class Run>
void expect_bf16_parity(const Network& network, const std::string& folder, const Run& run) {
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  AttentionContext context;
  EXPECT_LE(error_over_std(run(network, io.at("hidden_states"), io, context), io.at("expected.sample")),
            3 * error_over_std(io.at("expected.bf16"), io.at("expected.sample")));
}

// Its text kept at one step and left out at the next, from each joint site on: with the same input nothing changes but
// the work, by as much as the sites state.
template <class Network, class Run>
void expect_text_left_out(Network& network, const std::string& folder, const std::vector<SiteTokens>& tokens,
                          const Run& run) {
  TensorMap io = read_safetensors(folder + "/io.safetensors");
  io.erase("skip_layers");  // blocks that do not run keep nothing
  const Tensor x = io.at("hidden_states");
  RunShape shape{.sites = network.sites(), .tokens = tokens, .members = {{}}, .guided = false, .steps = 2};
  shape.pictures = x.dim(0);
  const auto counted = [&](AttentionContext& context, Tensor& out) {
    const int64_t before = flops_counted();
    out = run(network, x, io, context);
    return flops_counted() - before;
  };
  AttentionContext nothing;
  Tensor plain;
  const int64_t plain_flops = counted(nothing, plain);
  for (const AttentionSite& first : network.sites()) {
    for (const Held held : {Held::keys, Held::part}) {
      if (first.stream("text") == nullptr) continue;
      SCOPED_TRACE(first.name + (held == Held::keys ? " keys" : " part"));
      PlanBuilder builder(shape);
      builder.speaks("gate", "p.yaml:1", "");
      for (const SiteScope& site : builder.sites({.kinds = {AttentionKind::joint}, .names = {}, .text = "joint"})) {
        if (site.site().depth < first.depth) continue;
        site.during({0, 1}).declare(Keep{.slot = "s", .text = "", .held = held, .segment = "text"});
        site.during({1})
            .passes({Pass::denoise})
            .declare(Reuse{.slot = "s", .absorbs = {}, .held = held, .segment = "text"});
      }
      const CompiledPlan plan = compile(builder);
      Bank bank;
      AttentionContext context{.moment = {.step = 0, .steps = 2},
                               .lanes = {{.name = "cond", .begin = 0, .end = x.dim(0)}},
                               .plan = &plan,
                               .captures = nullptr,
                               .bank = &bank};
      Tensor kept, left_out;
      int64_t flops = counted(context, kept);
      EXPECT_EQ(kept.to_vector(), plain.to_vector());
      EXPECT_EQ(bank.bytes(), totals(plan).kept_bytes);
      context.moment.step = 1;
      flops += counted(context, left_out);
      EXPECT_LE(error_over_std(left_out, plain), 2e-5);
      EXPECT_EQ(flops - 2 * plain_flops, totals(plan).extra_flops);
      EXPECT_LT(totals(plan).extra_flops, 0);

      std::vector<Tensor> gradients;
      for (const bool checkpointing : {true, false}) {
        network.set_checkpointing(checkpointing);
        Tape tape;
        const Tensor watched = tape.watch(x);
        gradients.push_back(tape.gradient(run(network, watched, io, context), watched, io.at("cotangent")));
      }
      EXPECT_LE(error_over_std(gradients[0], gradients[1]), 1e-5);
    }
  }
}

// Every key of the configuration given values of other types and sizes: read, or refused as input.
template <class Network, class Config>
void expect_hostile_values_refused(const std::string& folder) {
  const nlohmann::json config = Json::read(folder + "/config.json").node();
  const nlohmann::json values{nullptr,
                              true,
                              -1,
                              0,
                              1,
                              3,
                              int64_t{1} << 31,
                              std::numeric_limits<int64_t>::max(),
                              1e300,
                              "x",
                              nlohmann::json::array(),
                              nlohmann::json::object(),
                              nlohmann::json::array({-1, 1 << 30})};
  for (const auto& [key, value] : config.items()) {
    if (key.starts_with("_")) continue;
    for (const nlohmann::json& other : values) {
      try {
        load_network<Network, Config>(folder, DType::f32, {{key, other}});
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::input) << key << " " << other << ": " << error.what();
      }
    }
  }
}

}  // namespace heddle::testing
