// Matrix products: a weight packed once for oneDNN's blocked kernels, and batched products of activations.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "kernels/core/tensor.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/turned_product.h"
#include "kernels/ops/activation.h"

namespace heddle::cpu {

// What becomes of each row y of a product: residual + gate * then(y + bias). Each may be undefined.
struct Epilogue {
  Tensor bias = {};      // [N] f32
  Tensor residual = {};  // [M,N], dense, in the dtype of the rows
  Tensor gate = {};      // [G,N] f32, dense, each for M/G neighbouring rows
  Activation then = Activation::none;  // or gelu_tanh
};

// The right-hand side B [K,N] of x B, packed.
class PackedOperand {
 public:
  // `matrix` [K,N] in dtype `compute` or, transposed by its strides, a view of one.
  PackedOperand(const MemoryDesc& layout, const void* data, DType compute);
  // x [M,K] whose rows may lie apart -> [M,N] in x's dtype.
  Tensor multiply(const Tensor& x, const Epilogue& then) const;
  // The same matrix transposed, packed anew.
  std::unique_ptr<PackedOperand> transposed() const;
  // The packed elements, where their layout is one that turned_product reads.
  std::optional<BlockedMatrix> blocked() const;

 private:
  // The rows of one gate, into y.
  void multiply_into(const Tensor& x, const Epilogue& then, Tensor& y) const;

  int64_t k_, n_;
  DType stored_;
  PackedBuffer packed_;
  mutable PreparedCache cache_;
};

// c [B,M,N] = a [B,M,K] b [B or 1,K,N]; in each of a and b one of the last two strides is 1, in c the last.
void batched_product(const Tensor& a, const Tensor& b, Tensor& c);

}  // namespace heddle::cpu

namespace heddle {

// The matrix of a linear layer, however it is kept.
struct MatrixProduct {
  virtual ~MatrixProduct() = default;
  virtual Tensor forward(const Tensor& x, cpu::Epilogue then) const = 0;  // [M,in] -> [M,out]; the bias is its own
  virtual Tensor backward(const Tensor& cotangent) const = 0;             // [M,out] -> [M,in]
};

struct PackedMatrix final : MatrixProduct {
  // `weight` [out,in] dense in any float dtype, `bias` [out] or undefined.
  PackedMatrix(const Tensor& weight, const Tensor& bias, DType compute);
  Tensor forward(const Tensor& x, cpu::Epilogue then) const override;
  Tensor backward(const Tensor& cotangent) const override;

 private:
  Tensor bias_;  // f32
  std::unique_ptr<cpu::PackedOperand> forward_;
  mutable std::once_flag backward_packed_;
  mutable std::unique_ptr<cpu::PackedOperand> backward_;  // made by the first vjp where the layout cannot be read turned
};

}  // namespace heddle
