// Nonlinearities: names, checks, the tape and dispatch.
#include "kernels/ops/activation.h"

#include <array>
#include <utility>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/activation.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// As config files of diffusers and transformers spell them.
constexpr std::array<std::pair<std::string_view, Activation>, 17> names{{
    {"none", Activation::none},
    {"linear", Activation::none},
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"gelu", Activation::gelu},
    {"gelu_python", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_tanh", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu-approximate", Activation::gelu_tanh},
    {"quick_gelu", Activation::quick_gelu},
    {"relu", Activation::relu},
    {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},
    {"mish", Activation::mish},
}};

void check(const Tensor& x, const char* op) {
  if (x.dtype() != DType::f32 && x.dtype() != DType::bf16)
    fail(ErrorCode::internal, op, "f32 or bf16", name_of(x.dtype()));
}

}  // namespace

Activation activation_named(std::string_view name, std::string_view where) {
  std::vector<std::string_view> known;
  for (const auto& [word, kind] : names) {
    if (word == name) return kind;
    known.push_back(word);
  }
  const std::string near = nearest_word(name, known);
  fail(ErrorCode::input, where, "an activation (silu, gelu, gelu_new, quick_gelu, relu, sigmoid, tanh, mish)", name,
       near);
}

Tensor activate(const Tensor& given, Activation kind) {
  check(given, "activate");
  if (kind == Activation::none || given.count() == 0) return given;
  const Tensor x = contiguous(given);
  const Tensor in = x.detach();
  return record(cpu::activation_forward(in, kind), {x}, [in, kind](const Tensor& d_y) -> std::vector<Tensor> {
    return {cpu::activation_backward(in, contiguous(to(d_y, in.dtype())), kind)};
  });
}

Tensor geglu(const Tensor& given) {
  check(given, "geglu");
  if (given.rank() == 0 || given.dim(-1) % 2 != 0) {
    fail(ErrorCode::internal, "geglu", "an even last axis", given.shape().text());
  }
  Shape half = given.shape();
  half[half.rank() - 1] /= 2;
  if (given.count() == 0) return Tensor::zeros(half, given.dtype());
  const Tensor x = contiguous(given);
  const Shape joined = x.shape();
  const Shape flat{x.count() / joined.back(), joined.back()}, flat_half{flat[0], half.back()};
  const Tensor in = x.view(flat, row_major_strides(flat), 0);
  const Tensor y = cpu::geglu_forward(in);
  return record(y.view(half, row_major_strides(half), 0), {x}, [=](const Tensor& d_y) -> std::vector<Tensor> {
    const Tensor g = contiguous(to(d_y, in.dtype())).view(flat_half, row_major_strides(flat_half), 0);
    return {cpu::geglu_backward(in, g).view(joined, row_major_strides(joined), 0)};
  });
}

}  // namespace heddle
