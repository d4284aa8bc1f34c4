// The reverse sweep.
#include "kernels/core/tape.h"

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"

namespace heddle {
namespace {

using Cotangents = std::vector<std::vector<Tensor>>;  // [node][output]

void accumulate(Cotangents& all, std::pair<int, int> place, const Tensor& value) {
  Tensor& slot = all[place.first][place.second];
  slot = slot.defined() ? add(slot, value) : value;
}

void propagate(Cotangents& all, TapeState& state, int index, Tape::Graph graph) {
  TapeNode& node = state.nodes[index];
  if (!node.vjp) return;
  bool reached = false;
  for (const Tensor& c : all[index]) reached |= c.defined();
  if (reached) {
    const std::vector<Tensor> back = node.vjp(all[index]);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].first >= 0 && i < back.size() && back[i].defined()) accumulate(all, node.inputs[i], back[i]);
    }
  }
  all[index].assign(all[index].size(), Tensor());
  if (graph == Tape::Graph::release) node.vjp = nullptr;
}

}  // namespace

Tensor Tape::watch(const Tensor& x) {
  Tensor out = x.detach();
  out.tape = state_;
  out.node = static_cast<int>(state_->nodes.size());
  state_->nodes.push_back({});
  return out;
}

Tensor Tape::gradient(const Tensor& y, const Tensor& x, const Tensor& cotangent, Graph graph) {
  const Tensor seed = cotangent.defined() ? cotangent : Tensor::full(y.shape(), 1.0f, y.dtype());
  return gradients(std::span(&y, 1), std::span(&seed, 1), std::span(&x, 1), graph)[0];
}

std::vector<Tensor> Tape::gradients(std::span<const Tensor> ys, std::span<const Tensor> cotangents,
                                    std::span<const Tensor> xs, Graph graph) {
  Cotangents all(state_->nodes.size());
  for (size_t i = 0; i < all.size(); ++i) all[i].resize(static_cast<size_t>(state_->nodes[i].outputs));
  for (size_t i = 0; i < ys.size(); ++i) {
    if (!(ys[i].shape() == cotangents[i].shape())) {
      fail(ErrorCode::internal, "tape.gradient", "a cotangent " + ys[i].shape().text(), cotangents[i].shape().text());
    }
    if (ys[i].node >= 0 && ys[i].tape.lock() == state_)
      accumulate(all, {ys[i].node, ys[i].output}, cotangents[i].detach());
  }
  for (int i = static_cast<int>(all.size()) - 1; i >= 0; --i) propagate(all, *state_, i, graph);

  std::vector<Tensor> out;
  for (const Tensor& x : xs) {
    if (x.node < 0 || x.tape.lock() != state_ || state_->nodes[x.node].vjp) {
      fail(ErrorCode::internal, "tape.gradient", "a tensor watched by this tape", "another");
    }
    const Tensor& g = all[x.node][x.output];
    out.push_back(g.defined() ? g : Tensor::zeros(x.shape(), x.dtype()));
  }
  return out;
}

bool any_tracked(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) {
    if (t.defined() && t.is_tracked()) return true;
  }
  return false;
}

std::vector<Tensor> record(std::vector<Tensor> outputs, std::span<const Tensor> inputs, Vjp vjp) {
  std::shared_ptr<TapeState> state;
  TapeNode node{.outputs = static_cast<int>(outputs.size()), .vjp = std::move(vjp)};
  for (const Tensor& input : inputs) {
    const auto owner = input.defined() ? input.tape.lock() : nullptr;
    if (owner && state && owner != state) fail(ErrorCode::internal, "tape", "inputs on one tape", "two tapes");
    if (owner) state = owner;
    node.inputs.emplace_back(owner ? input.node : -1, input.output);
  }
  if (!state) return outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].tape = state;
    outputs[i].node = static_cast<int>(state->nodes.size());
    outputs[i].output = static_cast<int>(i);
  }
  state->nodes.push_back(std::move(node));
  return outputs;
}

Tensor record(Tensor output, std::initializer_list<Tensor> inputs,
              std::function<std::vector<Tensor>(const Tensor& cotangent)> vjp) {
  const std::span<const Tensor> all(inputs.begin(), inputs.size());
  if (!any_tracked(all)) return output;
  return record(std::vector<Tensor>{std::move(output)}, all,
                [vjp = std::move(vjp)](std::span<const Tensor> cotangents) { return vjp(cotangents[0]); })[0];
}

}  // namespace heddle
