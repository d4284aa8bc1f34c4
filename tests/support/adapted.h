// Networks of the fixtures with adaptations laid over their weights.
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "io/json.h"
#include "io/lora.h"
#include "io/safetensors.h"
#include "io/weights.h"
#include "kernels/layers/scope.h"

namespace heddle::testing {

// `answer(network, io, context)` of the network in `folder`; io: the tensors of its io.safetensors.
template <typename Network, typename Config, typename Answer>
Tensor adapted(const std::string& folder, LoraPart part, const std::vector<AskedLora>& loras, Answer answer) {
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  Weights weights(folder);
  LoraWeights laid(weights, weights.names(), part, loras);
  const Network network(Config::from(Json::read(folder + "/config.json")), Scope(laid, DType::f32));
  weights.require_all_used();
  AttentionContext context;
  return answer(network, io, context);
}

}  // namespace heddle::testing
