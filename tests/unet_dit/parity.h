// Networks against the fixtures that diffusers made for them: `run(network, first input, io, context)` evaluates one.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "io/safetensors.h"
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
