// Trades time for memory: the block's inner activations are not kept; the backward sweep runs it again.
#pragma once

#include <functional>
#include <vector>

#include "kernels/core/tensor.h"

namespace heddle {

using Block = std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)>;

// Equal to block(inputs), bit for bit, in value and gradient. The block must not use tracked tensors besides its
// inputs.
std::vector<Tensor> checkpoint(const Block& block, const std::vector<Tensor>& inputs);

}  // namespace heddle
