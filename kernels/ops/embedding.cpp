// Table look-up and sinusoids.
#include "kernels/ops/embedding.h"

#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

std::vector<int64_t> rows_below(const Tensor& ids, int64_t count) {
  std::vector<int64_t> rows = ids.to_ids();
  for (const int64_t row : rows) {
    if (row < 0 || row >= count)
      fail(ErrorCode::input, "embedding", "ids in 0.." + std::to_string(count - 1), std::to_string(row));
  }
  return rows;
}

Tensor shaped(const Tensor& rows, const Tensor& ids, DType compute) {
  Shape shape = ids.shape();
  shape.push_back(rows.dim(1));
  return to(reshape(rows, shape), compute);
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids, DType compute) {
  return shaped(gather(table, 0, rows_below(ids, table.dim(0))), ids, compute);
}

Tensor embedding(const QuantizedMatrix& table, const Tensor& ids, DType compute) {
  std::vector<Tensor> rows;
  for (const int64_t row : rows_below(ids, table.rows())) rows.push_back(table.row_range(row, row + 1).numbers());
  return shaped(rows.empty() ? Tensor::zeros({0, table.columns()}) : concat(rows, 0), ids, compute);
}

Tensor sinusoid(const Tensor& values, const SinusoidOptions& options) {
  const int64_t half = options.dim / 2;
  const std::vector<float> at = to(values, DType::f32).to_vector();
  Tensor out = Tensor::zeros({static_cast<int64_t>(at.size()), options.dim});
  float* row = out.fill_data<float>();
  for (const float value : at) {
    for (int64_t i = 0; i < half; ++i) {
      const float exponent = static_cast<float>(-std::log(options.max_period)) * static_cast<float>(i) /
                             static_cast<float>(static_cast<double>(half) - options.downscale_freq_shift);
      const float angle = value * std::exp(exponent);
      row[options.cosine_first ? half + i : i] = std::sin(angle);
      row[options.cosine_first ? i : half + i] = std::cos(angle);
    }
    row += options.dim;
  }
  return out;
}

}  // namespace heddle
