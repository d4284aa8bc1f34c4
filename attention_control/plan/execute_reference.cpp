// A branch's softmax on plain ops with the whole map in memory: the oracle of the fused one, and the only engine that
// can rewrite a map. All sources stand side by side in one softmax.
#include <algorithm>
#include <cmath>

#include "attention_control/plan/execute.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// The sum of terms for each key and query, as one dense term's rows: [1|R,1|H,Nk,Nq].
Tensor dense_rows(const std::vector<ScoreTerm>& terms, int64_t keys, int64_t queries) {
  Tensor total = Tensor::zeros({1, 1, keys, queries});
  for (const ScoreTerm& term : terms) {
    Tensor rows = term.rows;  // [r,h,C,1|Nq]
    if (term.key_class.defined()) {
      const std::vector<int64_t> classes = term.key_class.to_ids();
      std::vector<Tensor> batches;
      for (int64_t r = 0; r < term.key_class.dim(0); ++r) {
        const Tensor one = rows.dim(0) == 1 ? rows : slice(rows, 0, r, r + 1);
        batches.push_back(
            gather(one, 2, std::span(classes).subspan(static_cast<size_t>(r * keys), static_cast<size_t>(keys))));
      }
      // One class list serves all rows; several lists make one batch row each.
      rows = term.key_class.dim(0) == 1 ? gather(rows, 2, classes) : concat(batches, 0);
    }
    total = add(total, rows);
  }
  return total;
}

Tensor per_key(const std::vector<float>& factors) {
  return Tensor::from(std::span<const float>(factors), {1, static_cast<int64_t>(factors.size()), 1, 1});
}

Tensor with_constant(const Tensor& rows, double constant) {
  return constant == 0 ? rows : add_constant(rows, constant);
}

// Rows of several sources one after another; batch and head extents are brought together first.
Tensor join(const std::vector<Tensor>& parts) {
  int64_t r = 1, h = 1;
  for (const Tensor& part : parts) {
    r = std::max(r, part.dim(0));
    h = std::max(h, part.dim(1));
  }
  std::vector<Tensor> same;
  for (const Tensor& part : parts) same.push_back(repeat(repeat(part, 0, r / part.dim(0)), 1, h / part.dim(1)));
  return concat(same, 2);
}

}  // namespace

Softmaxed reference_softmax(const BranchProgram& branch, const LaneRun& lane, const Rewrite* rewrite) {
  const BranchInputs in = prepare(branch, lane);
  const SiteTokens& tokens = lane.call().tokens;
  std::vector<Tensor> outs, maps;
  int64_t begin = 0;
  for (const TokenSegment& segment : tokens.query) {
    const int64_t end = begin + segment.tokens();
    std::vector<float> factors;
    for (const TokenSegment& key : tokens.key)
      factors.insert(factors.end(), static_cast<size_t>(key.tokens()),
                     static_cast<float>(segment_factor(branch, segment.name, key.name)));
    std::vector<Tensor> keys{multiply(to(in.k, DType::f32), per_key(factors))}, values{to(in.v, DType::f32)};
    std::vector<Tensor> rows{dense_rows(in.terms, in.k.dim(1), in.q.dim(1))};
    for (const BranchInputs::Source& source : in.sources) {
      keys.push_back(to(source.k, DType::f32));
      values.push_back(to(source.v, DType::f32));
      rows.push_back(with_constant(dense_rows(source.terms, source.k.dim(1), in.q.dim(1)), source.log_gain));
    }
    const AttentionOptions options{.scale = in.scale,
                                   .causal = lane.call().site.causal,
                                   .terms = {{.key_class = {}, .rows = contiguous(slice(join(rows), 3, begin, end))}}};
    const ReferenceResult done = attention_reference(
        to(slice(in.q, 1, begin, end), DType::f32), concat(keys, 1), concat(values, 1), options,
        rewrite ? [&](const Tensor& p) { return rewrite->apply(p, lane); } : std::function<Tensor(const Tensor&)>());
    check_rows(in, done.lse, lane.call().site.name);
    outs.push_back(to(done.out, in.q.dtype()));
    maps.push_back(done.map);
    begin = end;
  }
  const Tensor nothing = Tensor::full({}, 1e-30f);                  // queries that see none of the keys get 0
  const Tensor map = maps.size() == 1 ? maps[0] : concat(maps, 2);  // [R,H,Nq,Nk of all sources]
  return {outs.size() == 1 ? outs[0] : concat(outs, 1), [map, nothing](const Capture& capture) {
            Tensor columns = gather(map, 3, capture.keys);
            if (!capture.within.empty())
              columns = divide(columns, maximum(sum(gather(map, 3, capture.within), {3}, Axes::keep), nothing));
            return capture.mean_over_heads ? mean(columns, {1}) : columns;
          }};
}

}  // namespace heddle
