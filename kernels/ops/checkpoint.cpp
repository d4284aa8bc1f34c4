// Runs a block without a tape; the vjp runs it again under a tape of its own.
#include "kernels/ops/checkpoint.h"

#include "kernels/core/tape.h"

namespace heddle {

std::vector<Tensor> checkpoint(const Block& block, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> plain;
  for (const Tensor& input : inputs) plain.push_back(input.detach());
  std::vector<Tensor> outputs = block(plain);
  if (!any_tracked(inputs)) return outputs;
  return record(std::move(outputs), inputs, [block, plain](std::span<const Tensor> cotangents) {
    Tape tape;
    std::vector<Tensor> watched;
    for (const Tensor& input : plain) watched.push_back(input.defined() ? tape.watch(input) : Tensor());
    const std::vector<Tensor> again = block(watched);
    std::vector<Tensor> ys, seeds, xs;
    for (size_t i = 0; i < again.size(); ++i) {
      if (!cotangents[i].defined()) continue;
      ys.push_back(again[i]);
      seeds.push_back(cotangents[i]);
    }
    for (const Tensor& w : watched) {
      if (w.defined()) xs.push_back(w);
    }
    const std::vector<Tensor> gradients = tape.gradients(ys, seeds, xs);
    std::vector<Tensor> back;
    size_t next = 0;
    for (const Tensor& w : watched) back.push_back(w.defined() ? gradients[next++] : Tensor());
    return back;
  });
}

}  // namespace heddle
