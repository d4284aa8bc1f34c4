// Matrices of quantised numbers, in blocks as ggml defines them (github.com/ggml-org/ggml, src/ggml-common.h): they
// stay in the mapped file and become numbers a panel of rows at a time (ops/linear.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/core/tensor.h"

namespace heddle {

enum class BlockType : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k };

struct BlockFormat {
  const char* name;
  int64_t elements, bytes;  // of a block
};
const BlockFormat& format_of(BlockType type);

// Some rows, and of each the elements of columns [first, first + count).
struct QuantizedRows {
  BlockType type = BlockType::f32;
  const std::byte* data = nullptr;  // the first row
  int64_t rows = 0, width = 0;      // width: elements of a stored row, a whole number of blocks
  int64_t first = 0, count = 0;
  std::shared_ptr<const void> owner = {};  // keeps `data` alive

  int64_t row_bytes() const { return width / format_of(type).elements * format_of(type).bytes; }
};

// [rows, columns], its rows perhaps from several places.
class QuantizedMatrix {
 public:
  QuantizedMatrix() = default;
  explicit QuantizedMatrix(QuantizedRows rows);
  // A dense matrix in a float dtype; not copied.
  static QuantizedMatrix of(const Tensor& matrix);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  std::span<const QuantizedRows> parts() const { return parts_; }

  QuantizedMatrix row_range(int64_t begin, int64_t end) const;
  QuantizedMatrix column_range(int64_t begin, int64_t end) const;
  QuantizedMatrix followed_by(const QuantizedMatrix& below) const;  // as many columns

  // [rows, columns] in f32, whole: for what is no matrix product.
  Tensor numbers() const;

 private:
  std::vector<QuantizedRows> parts_;
  int64_t rows_ = 0, columns_ = 0;
};

// up down, a matrix of low rank: down [r,in], up [out,r].
struct LowRank {
  Tensor down, up;
};

// The matrix of a linear layer, with what is to be added to it and cannot be without making it whole.
struct QuantizedWeight {
  QuantizedMatrix matrix;
  std::vector<LowRank> beside = {};
};

// Of several, one below the other; and of one, some columns.
QuantizedWeight stacked(const std::vector<QuantizedWeight>& weights);
QuantizedWeight columns_of(const QuantizedWeight& weight, int64_t begin, int64_t end);

}  // namespace heddle
