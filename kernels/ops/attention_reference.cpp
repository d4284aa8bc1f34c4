// softmax(scale * q k^T + terms) v, step by step.
#include "kernels/ops/attention_reference.h"

#include <limits>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/attention_checks.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr double hidden = -1e30;  // finite, so that differences of two stay numbers

Tensor heads_first(const Tensor& x) {
  return contiguous(permute(to(x, DType::f32), {0, 2, 1, 3}));  // [B,H,N,D]
}

// [1|B,1|H,1|Nq,Nk]
Tensor dense_bias(const ScoreTerm& term) {
  Tensor by_key = term.rows;  // [1|B,1|H,Nk,1|Nq]
  if (term.key_class.defined()) {
    const std::vector<int64_t> classes = term.key_class.to_ids();
    const int64_t batches = term.key_class.dim(0), keys = term.key_class.dim(1);
    std::vector<Tensor> parts;
    for (int64_t b = 0; b < batches; ++b) {
      const bool own = term.rows.dim(0) > 1 && batches > 1;
      const Tensor rows = own ? slice(term.rows, 0, b, b + 1) : term.rows;
      parts.push_back(
          gather(rows, 2, std::span(classes).subspan(static_cast<size_t>(b * keys), static_cast<size_t>(keys))));
    }
    by_key = batches > 1 ? concat(parts, 0) : parts[0];
  }
  return clamp(contiguous(permute(by_key, {0, 1, 3, 2})), hidden, -hidden);
}

Tensor causal_bias(const AttentionExtents& n) {
  std::vector<float> values(static_cast<size_t>(n.queries * n.keys), 0.0f);
  for (int64_t i = 0; i < n.queries; ++i) {
    for (int64_t j = std::max<int64_t>(0, i + n.keys - n.queries + 1); j < n.keys; ++j)
      values[static_cast<size_t>(i * n.keys + j)] = static_cast<float>(hidden);
  }
  return Tensor::from(std::span<const float>(values), {1, 1, n.queries, n.keys});
}

// 1 where a row sees a key, else 0, and the -inf that the log-sum-exp of such a row is.
struct Sight {
  Tensor sees, lse;  // [B,H,Nq,1]
};

Sight sight_of(const Tensor& top) {
  const std::vector<float> tops = top.to_vector();
  std::vector<float> sees, lse;
  for (const float t : tops) {
    const bool blind = t <= hidden / 2;
    sees.push_back(blind ? 0.0f : 1.0f);
    lse.push_back(blind ? -std::numeric_limits<float>::infinity() : 0.0f);
  }
  return {Tensor::from(std::span<const float>(sees), top.shape()),
          Tensor::from(std::span<const float>(lse), top.shape())};
}

}  // namespace

ReferenceResult attention_reference(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  const AttentionExtents n = check_queries_and_keys("attention_reference", q, k);
  const std::vector<ScoreTerm> terms = checked_terms("attention_reference", options, n);
  const Shape values{n.batch, n.keys, n.heads, v.defined() && v.rank() == 4 ? v.dim(3) : 0};
  if (!v.defined() || !(v.shape() == values)) {
    fail(ErrorCode::internal, "attention_reference", "v of k's batch, length and heads", v.shape().text());
  }
  Tensor scores = scale(matmul(heads_first(q), transpose(heads_first(k))), score_scale(options, q));
  for (const ScoreTerm& term : terms) scores = add(scores, dense_bias(term));
  if (options.causal) scores = add(scores, causal_bias(n));

  const Tensor top = max(scores.detach(), 3, Axes::keep);
  const Sight sight = sight_of(top);
  const Tensor weights = exponential(subtract(scores, top));
  const Tensor total = sum(weights, {3}, Axes::keep);
  const Tensor map = multiply(divide(weights, total), sight.sees);  // [B,H,Nq,Nk]
  const Tensor lse = add(multiply(add(logarithm(total), top), sight.sees), sight.lse);

  const Tensor out = permute(matmul(map, heads_first(v)), {0, 2, 1, 3});
  return {to(contiguous(out), q.dtype()), reshape(lse, {n.batch, n.heads, n.queries}), map};
}

}  // namespace heddle
