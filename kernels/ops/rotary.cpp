// Rotary positions: tables, checks, the tape. The inverse of a rotation is its transpose, so the gradient is a rotation
// by the opposite angle.
#include "kernels/ops/rotary.h"

#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/rotary.h"
#include "kernels/ops/view.h"

namespace heddle {

Rotary rotary_tables(std::span<const double> angles, int64_t tokens) {
  const auto pairs = static_cast<int64_t>(angles.size());
  if (tokens <= 0 || pairs % tokens != 0) {
    fail(ErrorCode::internal, "rotary_tables", "as many angles for each of the tokens",
         std::to_string(pairs) + " for " + std::to_string(tokens));
  }
  Rotary out{Tensor::empty({tokens, 2 * pairs / tokens}), Tensor::empty({tokens, 2 * pairs / tokens})};
  float* cosine = out.cosine.fill_data<float>();
  float* sine = out.sine.fill_data<float>();
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = angles[static_cast<size_t>(i)];
    cosine[2 * i] = cosine[2 * i + 1] = static_cast<float>(std::cos(angle));
    sine[2 * i + 1] = static_cast<float>(std::sin(angle));
    sine[2 * i] = -sine[2 * i + 1];
  }
  return out;
}

Tensor rotate(const Tensor& x, const Rotary& at) {
  const Shape table = x.rank() == 4 ? Shape{x.dim(1), x.dim(3)} : Shape{};
  const bool fits = x.rank() == 4 && x.dim(3) % 2 == 0 && (x.dtype() == DType::f32 || x.dtype() == DType::bf16);
  for (const Tensor& t : {at.cosine, at.sine}) {
    if (fits && t.shape() == table && t.dtype() == DType::f32 && t.is_contiguous()) continue;
    fail(ErrorCode::internal, "rotate", "f32 or bf16 [B,N,H,D] of even D and dense f32 tables [N,D]",
         x.shape().text() + " and " + t.shape().text());
  }
  if (x.count() == 0) return x;
  const Tensor in = x.stride(3) == 1 ? x : contiguous(x);
  return record(cpu::rotate(in.detach(), at, cpu::Turn::forward), {in}, [at](const Tensor& c) -> std::vector<Tensor> {
    return {cpu::rotate(c.stride(3) == 1 ? c : contiguous(c), at, cpu::Turn::back)};
  });
}

}  // namespace heddle
