// Attention, norms, softmax and activations against torch's values and gradients (tools/fixtures/kernels_attention.py).
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "io/safetensors.h"
#include "kernels/core/tape.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/softmax.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

using testing::error_over_std;

TensorMap fixture(const char* name) {
  return read_safetensors(std::string(HEDDLE_FIXTURES) + "/kernels/" + name + ".safetensors");
}

// Largest error over the standard deviation that f32 and bf16 may have.
double tolerance(DType dtype) {
  return dtype == DType::f32 ? 1e-5 : 4e-2;
}

void check_attention(const TensorMap& t, const std::string& name, bool causal, DType dtype) {
  const auto in = [&](const char* key) { return to(t.at(name + "." + key), dtype); };
  Tape tape;
  const std::vector<Tensor> x{tape.watch(in("q")), tape.watch(in("k")), tape.watch(in("v"))};
  const AttentionResult r = attention(x[0], x[1], x[2], {.causal = causal});
  EXPECT_LE(error_over_std(r.out, t.at(name + ".out")), tolerance(dtype)) << name;
  EXPECT_LE(error_over_std(r.lse, t.at(name + ".lse")), tolerance(dtype)) << name;
  const std::vector<Tensor> ys{r.out, r.lse}, cs{in("d_out"), t.at(name + ".d_lse")};
  const std::vector<Tensor> back = tape.gradients(ys, cs, x);
  const char* keys[] = {".d_q", ".d_k", ".d_v"};
  for (int i = 0; i < 3; ++i)
    EXPECT_LE(error_over_std(back[i], t.at(name + keys[i])), 2 * tolerance(dtype)) << name << keys[i];
}

TEST(TorchParity, Attention) {
  const TensorMap t = fixture("attention");
  testing::on_each_instruction_set([&] {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const char* name : {"cross", "causal", "wide", "odd"})
        check_attention(t, name, name == std::string("causal"), dtype);
    }
  });
}

using Op = std::function<Tensor(const Tensor& x, const TensorMap& t)>;

void check(const TensorMap& t, const std::string& name, const Op& op) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Tape tape;
    const Tensor x = tape.watch(to(t.at(name + ".x"), dtype));
    const Tensor y = op(x, t);
    EXPECT_LE(error_over_std(y, t.at(name + ".y")), tolerance(dtype)) << name;
    const Tensor back = tape.gradient(y, x, to(t.at(name + ".d_y"), dtype));
    EXPECT_LE(error_over_std(back, t.at(name + ".d_x")), 2 * tolerance(dtype)) << name;
  }
}

TEST(TorchParity, NormsSoftmaxAndActivations) {
  const TensorMap t = fixture("norms");
  testing::on_each_instruction_set([&] {
    check(t, "group_norm_silu", [](const Tensor& x, const TensorMap& w) {
      return group_norm(x, w.at("group_norm_silu.gamma"), w.at("group_norm_silu.beta"),
                        {.groups = 8, .eps = 1e-5, .then = Activation::silu});
    });
    check(t, "layer_norm", [](const Tensor& x, const TensorMap& w) {
      return layer_norm(x, w.at("layer_norm.gamma"), w.at("layer_norm.beta"), 1e-5);
    });
    check(t, "rms_norm", [](const Tensor& x, const TensorMap& w) { return rms_norm(x, w.at("rms_norm.gamma"), 1e-6); });
    check(t, "softmax", [](const Tensor& x, const TensorMap&) { return softmax(x); });
    check(t, "geglu", [](const Tensor& x, const TensorMap&) { return geglu(x); });
    for (const char* name : {"silu", "gelu", "gelu_tanh", "quick_gelu"}) {
      check(t, name, [name](const Tensor& x, const TensorMap&) { return activate(x, activation_named(name, "test")); });
    }
  });
}

}  // namespace
}  // namespace heddle
