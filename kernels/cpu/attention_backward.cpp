// Attention backward (Dao 2023, algorithm 2): P is recomputed from the log-sum-exp, tile by tile, queries along
// vectors.
//   dV = P^T dO   dP = dO V^T   dS = P * (dP - D + dLSE)   dQ = scale * dS K   dK = scale * dS^T Q   D = rowsum(dO * O)
// A task owns a run of keys of one head, so dK and dV have one writer; dQ is summed over a head's tasks in order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <omp.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/attention_backward_job.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/panel-inl.h"
#include "kernels/cpu/score_tile-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET <= HWY_AVX3
#pragma GCC target("avx512bf16")
#endif
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;

template <class Op, typename T>
void pack_keys(const BackwardJob& job, int64_t problem, float* head) {
  using Word = typename Op::Word;
  const RowSource<T> k = rows_of<T>(job.in.k, problem, 0, job.sizes.keys);
  Panel<Op>::by_feature(k, reinterpret_cast<Word*>(head + job.keys_at()), job.key_step());
  Panel<Op>::by_feature(rows_of<T>(job.in.v, problem, 0, job.sizes.keys),
                        reinterpret_cast<Word*>(head + job.values_at()), job.value_step());
  if (job.pairs) Panel<Op>::by_row(k, reinterpret_cast<Word*>(head + job.keys_by_row_at()), job.key_row_step());
  std::fill_n(head + job.d_keys_at(), job.query_block_at(0) - job.d_keys_at(), 0.0f);
}

template <class Op, typename T>
void pack_queries(const BackwardJob& job, int64_t problem, int64_t block, float* head) {
  using Word = typename Op::Word;
  const int64_t begin = job.query_blocks.begin(block), end = job.query_blocks.end(block);
  const RowSource<T> q = rows_of<T>(job.in.q, problem, begin, end),
                     out = rows_of<T>(job.saved.out, problem, begin, end),
                     d_out = rows_of<T>(job.cotangents.out, problem, begin, end);
  float* to = head + job.query_block_at(block);
  std::fill_n(to, job.query_block_words(), 0.0f);
  Panel<Op>::transposed(q, static_cast<float>(job.in.scale * M_LOG2E), reinterpret_cast<Word*>(to), query_rows);
  Panel<Op>::transposed(d_out, 1.0f, reinterpret_cast<Word*>(to + job.d_out_at()), query_rows);
  Panel<Op>::by_row(q, reinterpret_cast<Word*>(to + job.query_rows_at()), job.dim_step());
  Panel<Op>::by_row(d_out, reinterpret_cast<Word*>(to + job.d_out_rows_at()), job.value_dim_step());
  const int64_t place = problem * job.sizes.queries + begin;
  const float* lse = job.saved.lse.data<float>() + place;
  const float* d_lse = job.cotangents.lse.defined() ? job.cotangents.lse.data<float>() + place : nullptr;
  for (int64_t i = 0; i < query_rows; ++i) {
    const bool blind = i >= end - begin || std::isinf(lse[i]);
    to[job.lse_at() + i] = blind ? -masked_score : lse[i] * static_cast<float>(M_LOG2E);  // weights become 0
    if (i >= end - begin) continue;
    const T *d_row = d_out.row(i), *row = out.row(i);
    FloatsVec along = hn::Zero(Floats());
    for_vectors(out.dim, [&](int64_t c, auto part)
                             HWY_ATTR { along = hn::MulAdd(load(d_row + c, part), load(row + c, part), along); });
    to[job.shift_at() + i] = hn::GetLane(hn::SumOfLanes(Floats(), along)) - (d_lse ? d_lse[i] : 0.0f);
  }
}

struct GradientTile {
  ScoreTile scores;  // becomes P; with pairs dS by pairs of keys
  float* d_weights;  // dP, becomes dS
  float* pair_rows;  // with pairs: P then dS, neighbouring queries in a word
  const float *lse, *shift;
};

HWY_INLINE LanesVec row_weight(const GradientTile& tile, int64_t at, int64_t r) {
  const Lanes d;
  return exp2_of(
      d, hn::MulSub(hn::LoadU(d, tile.scores.scores + at), hn::Set(d, tile.scores.unit), hn::LoadU(d, tile.lse + r)));
}

HWY_INLINE LanesVec score_gradient(const GradientTile& tile, LanesVec p, int64_t at, int64_t r) {
  return hn::Mul(p, hn::Sub(hn::LoadU(Lanes(), tile.d_weights + at), hn::LoadU(Lanes(), tile.shift + r)));
}

// P and dS of a tile from scores and dP.
void differentiate(FloatProduct, const GradientTile& tile) {
  for (int64_t k = 0; k < tile.scores.keys; ++k) {
    for (int64_t r = 0; r < tile.scores.vectors * lanes; r += lanes) {
      const int64_t at = k * query_rows + r;
      const LanesVec p = row_weight(tile, at, r);
      hn::StoreU(score_gradient(tile, p, at, r), Lanes(), tile.d_weights + at);
      hn::StoreU(p, Lanes(), tile.scores.scores + at);
    }
  }
}

#if HWY_TARGET <= HWY_AVX3
HWY_INLINE void store_half(LanesVec x, float* row, int64_t r) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + r / 2), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.raw)));
}

void differentiate(PairProduct, const GradientTile& tile) {
  const int64_t keys = tile.scores.keys, half = query_rows / 2;
  float* p_rows = tile.pair_rows;
  float* ds_rows = tile.pair_rows + keys * half;
  for (int64_t k = 0; k < keys; k += 2) {
    for (int64_t r = 0; r < tile.scores.vectors * lanes; r += lanes) {
      LanesVec ds[2] = {hn::Zero(Lanes()), hn::Zero(Lanes())};
      for (int64_t i = k; i < std::min(k + 2, keys); ++i) {
        const LanesVec p = row_weight(tile, i * query_rows + r, r);
        ds[i - k] = score_gradient(tile, p, i * query_rows + r, r);
        store_half(p, p_rows + i * half, r);
        store_half(ds[i - k], ds_rows + i * half, r);
      }
      store_pair(ds[0], ds[1], tile.scores.scores + k / 2 * query_rows + r);
    }
  }
}
#endif

// Adds one tile's share to dV, dK and dQ.
template <class Op, class Terms>
void add_tile(const BackwardJob& job, const Terms& terms, float* head, int64_t block, int64_t first_key, int64_t keys,
              float* d_queries, float* workspace) {
  using Word = typename Op::Word;
  const auto words = [](const float* p) { return reinterpret_cast<const Word*>(p); };
  const AttentionSizes& n = job.sizes;
  const int64_t begin = job.query_blocks.begin(block), rows = job.query_blocks.end(block) - begin;
  const float* queries = head + job.query_block_at(block);
  const float unit = Op::keys_per_word == 1 ? 1.0f : static_cast<float>(job.in.scale * M_LOG2E);
  const int64_t vectors = (rows + lanes - 1) / lanes, area = job.key_blocks.size * query_rows;
  const GradientTile tile{{workspace, keys, vectors, begin, rows, first_key, unit},
                          workspace + area,
                          workspace + 2 * area,
                          queries + job.lse_at(),
                          queries + job.shift_at()};
  if (terms.hide(tile.scores)) return;
  product<Op>({words(head + job.keys_at()) + first_key * job.key_step(), job.key_step(), 1, words(queries), query_rows,
               tile.scores.scores, query_rows, Panel<Op>::words(n.dim)},
              keys, vectors, FromZero());
  terms(tile.scores);
  product<Op>({words(head + job.values_at()) + first_key * job.value_step(), job.value_step(), 1,
               words(queries + job.d_out_at()), query_rows, tile.d_weights, query_rows, Panel<Op>::words(n.value_dim)},
              keys, vectors, FromZero());
  differentiate(Op(), tile);
  constexpr bool pairs = Op::keys_per_word == 2;
  const int64_t row_step = query_rows / Op::keys_per_word;
  const float* p = pairs ? tile.pair_rows : tile.scores.scores;
  const float* ds = pairs ? tile.pair_rows + keys * row_step : tile.d_weights;
  product<Op>({words(p), row_step, 1, words(queries + job.d_out_rows_at()), job.value_dim_step(),
               head + job.d_values_at() + first_key * job.value_dim_step(), job.value_dim_step(),
               Panel<Op>::words_between(rows)},
              keys, (n.value_dim + lanes - 1) / lanes, FromC());
  product<Op>({words(ds), row_step, 1, words(queries + job.query_rows_at()), job.dim_step(),
               head + job.d_keys_at() + first_key * job.dim_step(), job.dim_step(), Panel<Op>::words_between(rows)},
              keys, (n.dim + lanes - 1) / lanes, FromC());
  const int64_t key_row_step = pairs ? job.key_row_step() : job.key_step();
  product<Op>({words(head + job.keys_by_row_at()) + first_key / Op::keys_per_word * key_row_step, 1, key_row_step,
               words(pairs ? tile.scores.scores : tile.d_weights), query_rows, d_queries, query_rows,
               Panel<Op>::words_between(keys)},
              n.dim, vectors, FromC());
}

template <class Op, class Terms>
void add_part(const BackwardJob& job, const Terms& terms, float* head, int64_t part, float* workspace) {
  const int64_t blocks = job.query_blocks.pieces;
  std::fill_n(head + job.d_queries_at(part, 0), blocks * job.sizes.dim * query_rows, 0.0f);
  for (int64_t span = job.parts.begin(part); span < job.parts.end(part); ++span) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t key_end =
          std::min(job.key_spans.end(span), job.sizes.key_end(job.query_blocks.end(block), job.in.causal));
      for (int64_t k = job.key_spans.begin(span); k < key_end; k += job.key_blocks.size) {
        add_tile<Op>(job, terms, head, block, k, std::min(job.key_blocks.size, key_end - k),
                     head + job.d_queries_at(part, block), workspace);
      }
    }
  }
}

template <typename T>
void write_queries(const BackwardJob& job, int64_t problem, int64_t block, const float* head, float* rows_at) {
  const int64_t begin = job.query_blocks.begin(block), rows = job.query_blocks.end(block) - begin, dim = job.sizes.dim;
  Tensor d_q = job.back.q;
  T* to = d_q.fill_data<T>() + problem / job.sizes.heads * d_q.stride(0) + problem % job.sizes.heads * dim +
          begin * d_q.stride(1);
  const float* from = head + job.d_queries_at(0, block);
  const int64_t parts = job.parts.pieces, part_step = job.d_queries_at(1, block) - job.d_queries_at(0, block);
  const auto vectors = [&](int64_t c, int64_t i) HWY_ATTR {
    LanesVec sum = hn::Zero(Lanes());
    for (int64_t part = 0; part < parts; ++part)
      sum = hn::Add(sum, hn::LoadU(Lanes(), from + part * part_step + c * query_rows + i));
    return hn::Mul(hn::Set(Lanes(), job.in.scale), sum);
  };
  const auto one = [&](int64_t c, int64_t i) {
    float sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += from[part * part_step + c * query_rows + i];
    return job.in.scale * sum;
  };
  write_transposed(dim, rows, vectors, one, rows_at, job.row_step(), to, d_q.stride(1));
}

template <typename T>
void write_rows(Tensor to, int64_t problem, const float* from, int64_t step, float factor) {
  const int64_t heads = to.dim(2), dim = to.dim(3), stride = to.stride(1);
  const FloatsVec factors = hn::Set(Floats(), factor);
  T* out = to.fill_data<T>() + problem / heads * to.stride(0) + problem % heads * dim;
  for (int64_t i = 0; i < to.dim(1); ++i) {
    const float* row = from + i * step;
    T* into = out + i * stride;
    for_vectors(dim,
                [&](int64_t c, auto part) HWY_ATTR { store(hn::Mul(factors, load(row + c, part)), into + c, part); });
  }
}

// The four steps of a head; `index` is a block of queries (the keys where it is one past them), or a part.
template <class Op, typename T>
void run_step(const BackwardJob& job, BackwardStep step, int64_t problem, float* head, int64_t index,
              float* workspace) {
  const bool keys = index == job.query_blocks.pieces;
  switch (step) {
    case BackwardStep::pack:
      return keys ? pack_keys<Op, T>(job, problem, head) : pack_queries<Op, T>(job, problem, index, head);
    case BackwardStep::add:
      return with_terms(job.in, problem, [&](const auto& terms) { add_part<Op>(job, terms, head, index, workspace); });
    case BackwardStep::write:
      if (!keys) return write_queries<T>(job, problem, index, head, workspace);
      write_rows<T>(job.back.k, problem, head + job.d_keys_at(), job.dim_step(), job.in.scale);
      return write_rows<T>(job.back.v, problem, head + job.d_values_at(), job.value_dim_step(), 1.0f);
  }
}

void backward_step(const BackwardJob& job, BackwardStep step, int64_t problem, float* head, int64_t index,
                   float* workspace) {
#if HWY_TARGET <= HWY_AVX3
  if (job.pairs) return run_step<PairProduct, BFloat16>(job, step, problem, head, index, workspace);
#endif
  with_float_type(job.in.q.dtype(), "attention",
                  [&]<typename T>() { run_step<FloatProduct, T>(job, step, problem, head, index, workspace); });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(backward_step);
constexpr int64_t group_words = 4 << 20;  // of heads that are worked on at once: they should stay in the last cache
}  // namespace

AttentionGradients attention_backward(const AttentionInputs& in, const AttentionOutputs& saved,
                                      const AttentionOutputs& cotangents) {
  BackwardJob job(in, saved, cotangents, in.q.dtype() == DType::bf16 && in.scale > 0 && has_bf16_products());
  const int64_t problems = job.sizes.problems(), sides = job.query_blocks.pieces + 1, parts = job.parts.pieces;
  // As many tasks as threads, or a multiple.
  const int64_t even = (threads() + parts - 1) / parts;
  const Pieces groups(problems, std::max(group_words / job.head_words() / even * even, even), even);
  Tensor heads = Tensor::empty({std::min(groups.size, problems), job.head_words()});
  Tensor rooms = Tensor::empty({threads(), job.workspace_words()});
  float* buffers = heads.fill_data<float>();
  float* room = rooms.fill_data<float>();
  const auto step = HWY_DYNAMIC_DISPATCH(backward_step);
  const auto run = [&](BackwardStep kind, int64_t group, int64_t each) {
    const int64_t first = groups.begin(group), tasks = (groups.end(group) - first) * each;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < tasks; ++i) {
      step(job, kind, first + i / each, buffers + i / each * job.head_words(), i % each,
           room + omp_get_thread_num() * job.workspace_words());
    }
  };
  for (int64_t group = 0; group < groups.pieces; ++group) {
    run(BackwardStep::pack, group, sides);
    run(BackwardStep::add, group, parts);
    run(BackwardStep::write, group, sides);
  }
  return job.back;
}

}  // namespace heddle::cpu
#endif
