// The walk-through of docs/kernels.md, "add an op", compiled: softplus. In the engine its parts are four files.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/test_add_an_op.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"
#include "tests/support/quoted_page.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;

// log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), which neither overflows nor cancels.
template <typename T>
void softplus_run(const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = static_cast<float>(x[i]);
    y[i] = T(std::max(v, 0.0f) + std::log1p(std::exp(-std::fabs(v))));
  }
}

// dx = dy * sigmoid(x), a vector at a time.
template <typename T>
void softplus_run_back(const T* x, const T* d_y, T* d_x, int64_t n) {
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR {
    store(hn::Mul(load(d_y + i, part), sigmoid_of(Floats(), load(x + i, part))), d_x + i, part);
  });
}

void softplus_piece(const Tensor& x, const Tensor& d_y, Tensor& out, int64_t begin, int64_t end) {
  with_float_type(x.dtype(), "softplus", [&]<typename T>() HWY_ATTR {
    const T* in = x.data<T>() + begin;
    T* to = out.fill_data<T>() + begin;
    if (d_y.defined()) return softplus_run_back(in, d_y.data<T>() + begin, to, end - begin);
    softplus_run(in, to, end - begin);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle {
namespace cpu {
namespace {
HWY_EXPORT(softplus_piece);

// d_y undefined: forward.
Tensor softplus(const Tensor& x, const Tensor& d_y) {
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(softplus_piece);
  for_pieces(x.count(), 1, [&](int64_t begin, int64_t end) { run(x, d_y, out, begin, end); });
  return out;
}
}  // namespace
}  // namespace cpu

namespace {
Tensor softplus(const Tensor& given) {
  if (given.dtype() != DType::f32 && given.dtype() != DType::bf16) {
    fail(ErrorCode::internal, "softplus", "f32 or bf16", name_of(given.dtype()));
  }
  if (given.count() == 0) return given;
  const Tensor x = contiguous(given), in = x.detach();
  return record(cpu::softplus(in, {}), {x}, [in](const Tensor& d_y) -> std::vector<Tensor> {
    return {cpu::softplus(in, contiguous(to(d_y, in.dtype())))};
  });
}

TEST(AddAnOp, Softplus) {
  testing::on_each_instruction_set([] {
    testing::check({.name = "softplus",
                    .inputs = {{5, 13}},
                    .op = [](const auto& x) { return softplus(x[0]); },
                    .oracle =
                        [](const auto& x) {
                          testing::Array y = x[0];
                          for (double& v : y.values) v = std::log1p(std::exp(v));
                          return y;
                        },
                    .low = -6,
                    .high = 6});
  });
}

// Each C++ block of the page stands in this file, so the page compiles.
TEST(AddAnOp, ThePageQuotesThisFile) {
  EXPECT_GE(testing::quoted_blocks("docs/kernels.md", "tests/kernels/test_add_an_op.cpp"), 3);
}

}  // namespace
}  // namespace heddle
#endif
