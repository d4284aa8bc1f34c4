// Convolutions and linear layers against torch, values and cotangents; fixtures by tools/fixtures/kernels_conv.py.
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "kernels/core/tape.h"
#include "kernels/ops/conv2d.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"

namespace heddle::testing {
namespace {

Tensor apply(const TensorMap& all, const std::string& name, const Tensor& x) {
  const Tensor &weight = all.at(name + ".weight"), &bias = all.at(name + ".bias");
  const auto geometry = all.find(name + ".geometry");
  if (geometry == all.end()) return linear(x, LinearWeight(weight, bias, x.dtype()));
  const std::vector<int64_t> g = geometry->second.to_ids();
  return conv2d(x, ConvWeight(weight, bias, {g[0], {g[1], g[2], g[3], g[4]}}, x.dtype()));
}

TEST(TorchProducts, values_and_cotangents) {
  const TensorMap all = read_safetensors(HEDDLE_FIXTURES "/kernels/products.safetensors");
  int cases = 0;
  for (const auto& [key, input] : all) {
    if (!key.ends_with(".x")) continue;
    const std::string name = key.substr(0, key.size() - 2);
    ++cases;
    for (const auto& [dtype, bound] : {std::pair{DType::f32, 5e-6}, std::pair{DType::bf16, 4e-2}}) {
      Tape tape;
      const Tensor x = tape.watch(to(input, dtype)), y = apply(all, name, x);
      EXPECT_LE(error_over_std(y, all.at(name + ".y")), bound) << name << " " << name_of(dtype);
      const Tensor d_x = tape.gradient(y, x, to(all.at(name + ".cotangent"), dtype));
      EXPECT_LE(error_over_std(d_x, all.at(name + ".d_x")), bound) << name << " vjp " << name_of(dtype);
    }
  }
  EXPECT_EQ(cases, 14);
}

}  // namespace
}  // namespace heddle::testing
