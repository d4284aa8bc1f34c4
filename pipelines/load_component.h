// How a component is read from its folder: configuration, weights, and the question whether any tensor is left over.
#pragma once

#include <memory>
#include <string>

#include "io/json.h"
#include "io/lora.h"
#include "io/weights.h"
#include "kernels/core/memory.h"
#include "kernels/layers/scope.h"

namespace heddle {

// LoRAs of one part; without any the weights are read as they stand.
struct PartLoras {
  LoraPart part = LoraPart::denoiser;
  std::vector<AskedLora> loras;
};

template <typename Network, typename Config>
std::unique_ptr<Network> load_component(const std::string& folder, DType compute, const PartLoras& adapted = {}) {
  const Config config = Config::from(Json::read(folder + "/config.json"));
  Weights weights(folder);
  std::unique_ptr<Network> network;
  if (adapted.loras.empty()) {
    network = std::make_unique<Network>(config, Scope(weights, compute));
  } else {
    LoraWeights laid(weights, weights.names(), adapted.part, adapted.loras);
    network = std::make_unique<Network>(config, Scope(laid, compute));
  }
  weights.require_all_used();
  trim_memory();  // packing needed room that running does not
  return network;
}

}  // namespace heddle
