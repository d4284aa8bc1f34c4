// How a network is made of a component: configuration, weights, and the question whether any tensor is left over.
#pragma once

#include <memory>
#include <string>

#include "io/checkpoint/checkpoint_file.h"
#include "io/lora.h"
#include "kernels/core/memory.h"
#include "kernels/layers/scope.h"

namespace heddle {

// LoRAs of one part; without any the weights are read as they stand.
struct PartLoras {
  LoraPart part = LoraPart::denoiser;
  std::vector<AskedLora> loras;
};

template <typename Network, typename Config>
std::unique_ptr<Network> load_component(const ComponentSource& from, DType compute, const PartLoras& adapted = {}) {
  const Config config = Config::from(from.config);
  std::unique_ptr<Network> network;
  if (adapted.loras.empty()) {
    network = std::make_unique<Network>(config, Scope(*from.weights, compute));
  } else {
    LoraWeights laid(*from.weights, from.weights->names(), adapted.part, adapted.loras);
    network = std::make_unique<Network>(config, Scope(laid, compute));
  }
  from.weights->require_all_used();
  trim_memory();  // packing needed room that running does not
  return network;
}

}  // namespace heddle
