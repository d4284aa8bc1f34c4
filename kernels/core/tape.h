// Reverse-mode differentiation with respect to activations. A Tape is a local object; there is no global mode:
//   Tape tape;  Tensor z = tape.watch(latents);  Tensor loss = f(z);  Tensor g = tape.gradient(loss, z);
// Only what descends from a watched tensor is recorded. Weights are never differentiated.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/core/tensor.h"

namespace heddle {

// Cotangents of an op's outputs (undefined where nothing flowed back) to cotangents of its inputs (undefined where the
// input is not tracked or gets none). Must capture detached tensors only, or the tape would keep itself alive.
using Vjp = std::function<std::vector<Tensor>(std::span<const Tensor> cotangents)>;

struct TapeNode {
  std::vector<std::pair<int, int>> inputs;  // (node, output) of each input, node -1 where not tracked
  int outputs = 1;
  Vjp vjp;
};

struct TapeState {
  std::vector<TapeNode> nodes;  // an op stands after its inputs
};

class Tape {
 public:
  Tensor watch(const Tensor& x);

  // d(sum(y * cotangent)) / dx, shaped as x. `cotangent` undefined stands for ones. Zeros where y does not depend on x.
  // Saved activations are let go as the sweep passes them, unless `keep` asks for another gradient later.
  enum class Graph { release, keep };
  Tensor gradient(const Tensor& y, const Tensor& x, const Tensor& cotangent = {}, Graph graph = Graph::release);
  std::vector<Tensor> gradients(std::span<const Tensor> ys, std::span<const Tensor> cotangents,
                                std::span<const Tensor> xs, Graph graph = Graph::release);

 private:
  std::shared_ptr<TapeState> state_ = std::make_shared<TapeState>();
};

// True when the op has to keep what its vjp needs.
bool any_tracked(std::span<const Tensor> tensors);
inline bool any_tracked(std::initializer_list<Tensor> tensors) {
  return any_tracked(std::span(tensors.begin(), tensors.size()));
}

// Returns `outputs` placed on the tape of the tracked inputs, or as they are when none is tracked.
std::vector<Tensor> record(std::vector<Tensor> outputs, std::span<const Tensor> inputs, Vjp vjp);
// The common case of one output; `vjp` maps its cotangent to those of the inputs.
Tensor record(Tensor output, std::initializer_list<Tensor> inputs,
              std::function<std::vector<Tensor>(const Tensor& cotangent)> vjp);

}  // namespace heddle
