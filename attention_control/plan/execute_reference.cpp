// A branch's softmax on plain ops with the whole map in memory: the oracle of the fused one, and the only engine that
// can rewrite a map. All sources stand side by side in one softmax.
#include <algorithm>
#include <cmath>

#include "attention_control/plan/execute.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
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

// The probabilities of `tempered`, each segment's together as much as in `plain`; further sources are as in `plain`.
Tensor with_masses(const Tensor& tempered, const Tensor& plain, const TokenLayout& segments) {
  std::vector<Tensor> parts;
  int64_t begin = 0;
  const Tensor least = Tensor::full({}, 1e-30f);
  for (const TokenSegment& segment : segments) {
    const int64_t end = begin + segment.tokens();
    const Tensor part = slice(tempered, 3, begin, end);
    const Tensor mass = sum(slice(plain, 3, begin, end), {3}, Axes::keep);
    parts.push_back(multiply(part, divide(mass, maximum(sum(part, {3}, Axes::keep), least))));
    begin = end;
  }
  if (begin < plain.dim(3)) parts.push_back(slice(plain, 3, begin, plain.dim(3)));
  return concat(parts, 3);
}

// The scores of all sources, their values and terms.
struct Sources {
  Tensor k;  // of the site itself, f32
  std::vector<Tensor> more;
  Tensor values;
  Tensor rows;  // terms [r,h,Nk,Nq]
};

Sources sources_of(const BranchInputs& in) {
  Sources out{.k = to(in.k, DType::f32), .more = {}, .values = {}, .rows = {}};
  std::vector<Tensor> values{to(in.v, DType::f32)}, rows{dense_rows(in.terms, in.k.dim(1), in.q.dim(1))};
  for (const BranchInputs::Source& source : in.sources) {
    out.more.push_back(to(source.k, DType::f32));
    values.push_back(to(source.v, DType::f32));
    rows.push_back(with_constant(dense_rows(source.terms, source.k.dim(1), in.q.dim(1)), source.log_gain));
  }
  out.values = concat(values, 1);
  out.rows = join(rows);
  return out;
}

// The map of one segment's queries: [R,H,Nq,Nk of all sources].
Tensor segment_map(const BranchProgram& branch, const BranchInputs& in, const Sources& sources, const LaneRun& lane,
                   const TokenRange& queries, const std::string& segment) {
  const SiteTokens& tokens = lane.call().tokens;
  std::vector<float> factors, masses;
  for (const TokenSegment& key : tokens.key) {
    const SegmentFactors f = segment_factors(branch, segment, key.name);
    factors.insert(factors.end(), static_cast<size_t>(key.tokens()), static_cast<float>(f.scores));
    masses.insert(masses.end(), static_cast<size_t>(key.tokens()), static_cast<float>(f.mass));
  }
  const AttentionOptions options{
      .scale = in.scale,
      .causal = lane.call().site.causal,
      .terms = {{.key_class = {}, .rows = contiguous(slice(sources.rows, 3, queries.begin, queries.end))}}};
  const auto softmax = [&](const std::vector<float>& f) {
    std::vector<Tensor> keys{multiply(sources.k, per_key(f))};
    keys.insert(keys.end(), sources.more.begin(), sources.more.end());
    const ReferenceResult done = attention_reference(to(slice(in.q, 1, queries.begin, queries.end), DType::f32),
                                                     concat(keys, 1), sources.values, options);
    check_rows(in, done.lse, lane.call().site.name);
    return done.map;
  };
  return factors == masses ? softmax(factors) : with_masses(softmax(factors), softmax(masses), tokens.key);
}

}  // namespace

Tensor reference_map(const LaneRun& lane) {
  const BranchProgram plain;
  const BranchInputs in = prepare(plain, lane);
  const Sources sources = sources_of(in);
  return segment_map(plain, in, sources, lane, {0, in.q.dim(1)}, "");
}

Softmaxed reference_softmax(const BranchProgram& branch, const LaneRun& lane, const Rewrite* rewrite) {
  const BranchInputs in = prepare(branch, lane);
  const Sources sources = sources_of(in);
  std::vector<Tensor> maps;
  int64_t begin = 0;
  for (const TokenSegment& segment : lane.call().tokens.query) {
    maps.push_back(segment_map(branch, in, sources, lane, {begin, begin + segment.tokens()}, segment.name));
    begin += segment.tokens();
  }
  const Tensor map = maps.size() == 1 ? maps[0] : concat(maps, 2);  // [R,H,Nq,Nk of all sources]
  const Tensor out =
      matmul(rewrite ? rewrite->apply(map, lane) : map, contiguous(permute(sources.values, {0, 2, 1, 3})));
  const Tensor nothing = Tensor::full({}, 1e-30f);  // queries that see none of the keys get 0
  return {to(permute(out, {0, 2, 1, 3}), in.q.dtype()), [map, nothing](const Capture& capture) {
            Tensor columns = gather(map, 3, capture.keys);
            if (!capture.within.empty())
              columns = divide(columns, maximum(sum(gather(map, 3, capture.within), {3}, Axes::keep), nothing));
            return capture.mean_over_heads ? mean(columns, {1}) : columns;
          }};
}

}  // namespace heddle
