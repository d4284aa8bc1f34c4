// Fixture folders of networks: a network made from one, its config.json perhaps changed, and what a change is refused
// for.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/weights.h"
#include "kernels/core/error.h"

namespace heddle::testing {

template <class Network, class Config>
std::unique_ptr<Network> load_network(const std::string& folder, DType compute, const nlohmann::json& changes = {}) {
  Weights weights(folder);
  nlohmann::json config = Json::read(folder + "/config.json").node();
  for (const auto& [key, value] : changes.items()) config[key] = value;
  const auto read = Config::from(Json::parse(config.dump(), "config.json"));
  auto network = std::make_unique<Network>(read, Scope(weights, compute));
  weights.require_all_used();
  return network;
}

// The message of the Error(input) that the changes give, which must hold `word`.
template <class Network, class Config>
void expect_refusal(const std::string& folder, const nlohmann::json& changes, const std::string& word) {
  std::string message = "nothing was refused";
  try {
    load_network<Network, Config>(folder, DType::f32, changes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    message = error.what();
  }
  EXPECT_NE(message.find(word), std::string::npos) << changes << ": " << message;
}

}  // namespace heddle::testing
