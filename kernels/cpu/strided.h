// Walks several views of one shape together: axes whose strides agree are fused, so dense operands become one long run.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/core/tensor.h"

namespace heddle::cpu {

template <int Operands>
class StridedWalk {
 public:
  explicit StridedWalk(const std::array<const Tensor*, Operands>& views) {
    const Shape& shape = views[0]->shape();
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == 1) continue;
      std::array<int64_t, Operands> strides;
      for (int k = 0; k < Operands; ++k) strides[k] = views[k]->strides()[axis];
      push(shape[axis], strides);
    }
    if (rank_ == 0) push(1, {});
  }

  // Calls row(offsets, length, inner strides) for pieces of the innermost run, in parallel.
  template <typename Row>
  void run(const Row& row) const {
    const int64_t inner = extents_[rank_ - 1];
    const int64_t pieces = std::max<int64_t>(1, (inner + longest_piece - 1) / longest_piece);
    int64_t outer = 1;
    for (int i = 0; i + 1 < rank_; ++i) outer *= extents_[i];
    const int64_t tasks = outer * pieces;
#pragma omp parallel for schedule(static) if (outer * inner > 32768)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t begin = (task % pieces) * longest_piece;
      std::array<int64_t, Operands> offsets = offsets_of(task / pieces);
      for (int k = 0; k < Operands; ++k) offsets[k] += begin * strides_[rank_ - 1][k];
      row(offsets, std::min(longest_piece, inner - begin), strides_[rank_ - 1]);
    }
  }

 private:
  static constexpr int64_t longest_piece = 8192;

  void push(int64_t extent, const std::array<int64_t, Operands>& strides) {
    bool fuse = rank_ > 0;
    for (int k = 0; k < Operands && fuse; ++k) fuse = strides_[rank_ - 1][k] == strides[k] * extent;
    if (fuse) {
      extents_[rank_ - 1] *= extent;
      strides_[rank_ - 1] = strides;
    } else {
      extents_[rank_] = extent;
      strides_[rank_++] = strides;
    }
  }

  std::array<int64_t, Operands> offsets_of(int64_t outer) const {
    std::array<int64_t, Operands> offsets{};
    for (int i = rank_ - 2; i >= 0; --i) {
      const int64_t index = outer % extents_[i];
      outer /= extents_[i];
      for (int k = 0; k < Operands; ++k) offsets[k] += index * strides_[i][k];
    }
    return offsets;
  }

  int rank_ = 0;
  std::array<int64_t, Shape::max_rank + 1> extents_{};
  std::array<std::array<int64_t, Operands>, Shape::max_rank + 1> strides_{};
};

}  // namespace heddle::cpu
