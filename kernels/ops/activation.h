// Pointwise nonlinearities, computed in f32.
#pragma once

#include <string_view>

#include "kernels/core/tensor.h"

namespace heddle {

enum class Activation : uint8_t { none, silu, gelu, gelu_tanh, quick_gelu, relu, sigmoid, tanh, mish };

// The activation that config files call `name` ("silu", "swish", "gelu", "gelu_new", "quick_gelu", "relu", "mish",
// ...); Error(input) naming `where` for others.
Activation activation_named(std::string_view name, std::string_view where);

// silu: x*sigmoid(x); gelu: x*Phi(x) with the error function; gelu_tanh: its tanh form; quick_gelu: x*sigmoid(1.702x);
// mish (Misra 2019): x*tanh(log(1+e^x)).
Tensor activate(const Tensor& x, Activation kind);

// Gated GELU (Shazeer 2020, eq. 6) on a joined projection: x[..., :n] * gelu(x[..., n:]) for x [..., 2n] -> [..., n].
Tensor geglu(const Tensor& x);

}  // namespace heddle
