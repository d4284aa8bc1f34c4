// Quantised matrices cut and joined without touching their numbers.
#include "kernels/ops/quantized.h"

#include <algorithm>
#include <array>

#include "kernels/core/error.h"
#include "kernels/cpu/dequantize.h"
#include "kernels/ops/view.h"

namespace heddle {

const BlockFormat& format_of(BlockType type) {
  static constexpr std::array<BlockFormat, 14> formats{{{"F32", 1, 4},
                                                        {"F16", 1, 2},
                                                        {"BF16", 1, 2},
                                                        {"Q8_0", 32, 34},
                                                        {"Q4_0", 32, 18},
                                                        {"Q4_1", 32, 20},
                                                        {"Q5_0", 32, 22},
                                                        {"Q5_1", 32, 24},
                                                        {"IQ4_NL", 32, 18},
                                                        {"Q2_K", 256, 84},
                                                        {"Q3_K", 256, 110},
                                                        {"Q4_K", 256, 144},
                                                        {"Q5_K", 256, 176},
                                                        {"Q6_K", 256, 210}}};
  return formats[static_cast<size_t>(type)];
}

QuantizedMatrix::QuantizedMatrix(QuantizedRows rows) : rows_(rows.rows), columns_(rows.count) {
  parts_.push_back(std::move(rows));
}

QuantizedMatrix QuantizedMatrix::of(const Tensor& matrix) {
  const BlockType type = matrix.dtype() == DType::f32   ? BlockType::f32
                         : matrix.dtype() == DType::f16 ? BlockType::f16
                                                        : BlockType::bf16;
  if (matrix.rank() != 2 || !matrix.is_contiguous() || matrix.dtype() == DType::i64)
    fail(ErrorCode::internal, "quantized", "a dense matrix of floats", matrix.shape().text());
  return QuantizedMatrix({.type = type,
                          .data = matrix.bytes(),
                          .rows = matrix.dim(0),
                          .width = matrix.dim(1),
                          .count = matrix.dim(1),
                          .owner = std::make_shared<Tensor>(matrix)});
}

QuantizedMatrix QuantizedMatrix::row_range(int64_t begin, int64_t end) const {
  QuantizedMatrix out;
  out.rows_ = end - begin;
  out.columns_ = columns_;
  int64_t at = 0;
  for (const QuantizedRows& part : parts_) {
    const int64_t from = std::max(begin, at), to = std::min(end, at + part.rows);
    if (from < to) {
      out.parts_.push_back(part);
      out.parts_.back().data += (from - at) * part.row_bytes();
      out.parts_.back().rows = to - from;
    }
    at += part.rows;
  }
  return out;
}

QuantizedMatrix QuantizedMatrix::column_range(int64_t begin, int64_t end) const {
  QuantizedMatrix out = *this;
  out.columns_ = end - begin;
  for (QuantizedRows& part : out.parts_) {
    part.first += begin;
    part.count = end - begin;
  }
  return out;
}

QuantizedMatrix QuantizedMatrix::followed_by(const QuantizedMatrix& below) const {
  if (columns_ != below.columns_)
    fail(ErrorCode::internal, "quantized", std::to_string(columns_) + " columns", std::to_string(below.columns_));
  QuantizedMatrix out = *this;
  out.rows_ += below.rows_;
  out.parts_.insert(out.parts_.end(), below.parts_.begin(), below.parts_.end());
  return out;
}

QuantizedWeight stacked(const std::vector<QuantizedWeight>& weights) {
  QuantizedWeight out{weights.front().matrix};
  int64_t rows = out.matrix.rows();
  for (size_t i = 1; i < weights.size(); ++i) {
    out.matrix = out.matrix.followed_by(weights[i].matrix);
    rows += weights[i].matrix.rows();
  }
  int64_t above = 0;
  for (const QuantizedWeight& weight : weights) {
    const int64_t below = rows - above - weight.matrix.rows();
    for (const LowRank& low : weight.beside) {
      const int64_t rank = low.down.dim(0);
      out.beside.push_back({low.down, concat({Tensor::zeros({above, rank}), low.up, Tensor::zeros({below, rank})}, 0)});
    }
    above += weight.matrix.rows();
  }
  return out;
}

QuantizedWeight columns_of(const QuantizedWeight& weight, int64_t begin, int64_t end) {
  QuantizedWeight out{weight.matrix.column_range(begin, end)};
  for (const LowRank& low : weight.beside) out.beside.push_back({contiguous(slice(low.down, 1, begin, end)), low.up});
  return out;
}

Tensor QuantizedMatrix::numbers() const {
  Tensor out = Tensor::empty({rows_, columns_});
  cpu::dequantize(*this, out);
  return out;
}

}  // namespace heddle
