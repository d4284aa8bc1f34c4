// One layer of an adaptation: what a file adds to a weight, W' = W + weight * scaling * difference, where the
// difference is made of small factors:
//   low rank   first                      LoRA (Hu et al. 2021, arXiv 2106.09685)
//   Hadamard   first * second, by element LoHa (Hyeon-Woo et al. 2022, arXiv 2108.06098)
//   Kronecker  first x second, by block   LoKr (Yeh et al. 2024, arXiv 2309.14859)
//   whole      first, stored as it is     LyCORIS' "full" and "norm", differences that tools extract
// with DoRA's magnitudes (Liu et al. 2024, arXiv 2402.09353) where the file has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/core/tensor.h"

namespace heddle {

enum class LoraKind : uint8_t { low_rank, hadamard, kronecker, whole };

// A matrix [rows, columns * taps]: stored whole, as a b, or of convolutions as a core b with core [r,r,kh,kw].
struct LoraFactor {
  Tensor whole, a, b, core;  // a [rows,r], b [r,columns * taps] or, with a core, [r,columns]

  bool defined() const { return whole.defined() || a.defined() || b.defined() || core.defined(); }
  int64_t rows() const;
  int64_t columns() const;             // times taps
  Tensor left() const, right() const;  // a and b as matrices
  Tensor product() const;              // [rows, columns]
};

// Parts first to first + count of `of` equal parts of a layer's rows; or all, their halves swapped.
struct LoraRows {
  int first = 0, count = 1, of = 1;
  bool swapped_halves = false;
};

// Tensors are f32; those that a file does not have are undefined.
struct LoraLayer {
  std::string written;  // as the file names it, for errors
  std::optional<LoraKind> kind;
  LoraFactor first, second;
  Tensor magnitude;
  Tensor bias;             // scaled as the weight's difference
  Tensor bias_difference;  // not scaled
  std::optional<double> alpha;
  double scaling = 1;  // alpha / rank; 1 where neither file nor configuration gives alpha, or nothing has a rank
  bool magnitude_of_inputs = false;
  LoraRows cut;  // which rows of a Kronecker product are meant: it has no rows of its own to cut before

  // Of the factors that have one; nothing where all are whole.
  std::optional<int64_t> rank() const;
  // Error(input) for halves without their other half, for tensors of two kinds, for ranks that do not meet.
  void check();
  // The difference, unscaled, in the weight's shape. Error(input) where it has another number of rows or columns.
  Tensor difference(const Shape& weight) const;
  void require_fit(const Shape& weight) const;  // the same error
  // One of the biases as the layer's is shaped. Error(input) where it has another number of elements.
  Tensor bias_part(const Tensor& bias, const Shape& shape) const;
  // DoRA: each output's share of W + difference, or each input's, at the length that was learned for it.
  Tensor with_magnitude(const Tensor& sum) const;
  // What adapts some rows of the layer. Error(input) where rows cannot be shared out so.
  LoraLayer part(const LoraRows& rows) const;

  [[noreturn]] void fail_layer(const std::string& wanted, const std::string& got,
                               const std::string& hint = "a LoRA made for this kind of model") const;
};

}  // namespace heddle
