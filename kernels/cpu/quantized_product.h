// Products with a matrix that stays quantised: a panel of its rows at a time becomes numbers.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "kernels/ops/quantized.h"

namespace heddle {

class QuantizedProduct final : public MatrixProduct {
 public:
  // `matrix` [out,in], `bias` [out] or undefined. Beside it low-rank matrices are added: up [out,r] down [r,in].
  QuantizedProduct(QuantizedMatrix matrix, const Tensor& bias, const std::vector<LowRank>& beside, DType compute);
  Tensor forward(const Tensor& x, cpu::Epilogue then) const override;  // [M,in] -> [M,out]
  Tensor backward(const Tensor& cotangent) const override;             // [M,out] -> [M,in]

 private:
  struct Branch {
    explicit Branch(const LowRank& low) : down(low.down, {}, DType::f32), up(low.up, {}, DType::f32) {}
    PackedMatrix down, up;
  };
  Tensor product(const Tensor& x) const;  // [M,out] f32, without bias
  // f(panel [rows,in], its first row), over all panels from the top.
  template <typename F>
  void for_panels(const F& f) const;

  QuantizedMatrix matrix_;
  Tensor bias_;    // f32
  DType compute_;  // of panels
  std::vector<std::unique_ptr<Branch>> beside_;
};

}  // namespace heddle
