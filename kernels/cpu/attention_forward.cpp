// Attention forward (Dao 2023, algorithm 1), a block of 64 queries at a time over blocks of keys. Queries lie along
// vectors: S^T = K Q^T, running softmax by lane, O^T = V^T P^T, so no sum ever crosses lanes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_forward.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <omp.h>

#include <cmath>
#include <limits>

#include "kernels/core/memory.h"
#include "kernels/cpu/attention_job.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/panel-inl.h"
#include "kernels/cpu/score_tile-inl.h"

#ifndef HEDDLE_ATTENTION_FORWARD_JOB
#define HEDDLE_ATTENTION_FORWARD_JOB
namespace heddle::cpu {
namespace {

// Panels of a group of heads, made before and shared by the blocks of queries, and room for each thread. In words.
struct ForwardJob {
  const AttentionInputs& in;
  AttentionSizes sizes;
  AttentionOutputs made;
  bool pairs;  // bf16 products
  float* panels = nullptr;
  Pieces query_blocks, key_blocks;

  ForwardJob(const AttentionInputs& in, const AttentionOutputs& made, bool pairs)
      : in(in),
        sizes(in),
        made(made),
        pairs(pairs),
        query_blocks(sizes.queries, query_rows, query_grain),
        key_blocks(sizes.keys, 96, 12) {}

  int64_t key_step() const { return panel_step(pairs ? (sizes.dim + 1) / 2 : sizes.dim); }
  int64_t value_step() const { return panel_step(sizes.value_dim); }
  int64_t value_rows() const { return pairs ? (sizes.keys + 1) / 2 : sizes.keys; }
  int64_t panel_words() const { return sizes.keys * key_step() + value_rows() * value_step(); }
  float* key_panel(int64_t slot) const { return panels + slot * panel_words(); }
  float* value_panel(int64_t slot) const { return key_panel(slot) + sizes.keys * key_step(); }
  int64_t row_step() const { return panel_step((sizes.value_dim + 15) / 16 * 16); }
  int64_t workspace_words() const { return (sizes.dim + sizes.value_dim + key_blocks.size + row_step()) * query_rows; }
};

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET <= HWY_AVX3
#pragma GCC target("avx512bf16")
#endif
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;

template <class Op, typename T>
void pack(const ForwardJob& job, int64_t problem, int64_t slot) {
  using Word = typename Op::Word;
  Panel<Op>::by_feature(rows_of<T>(job.in.k, problem, 0, job.sizes.keys), reinterpret_cast<Word*>(job.key_panel(slot)),
                        job.key_step());
  Panel<Op>::by_row(rows_of<T>(job.in.v, problem, 0, job.sizes.keys), reinterpret_cast<Word*>(job.value_panel(slot)),
                    job.value_step());
}

// out = O^T / sum and lse = max + log(sum), for the queries [begin, end).
template <typename T>
void finish(const ForwardJob& job, int64_t problem, int64_t begin, int64_t end, const SoftmaxState& state, float unit,
            const float* sums, float* rows) {
  const int64_t heads = job.sizes.heads, dim = job.sizes.value_dim;
  Tensor out = job.made.out, lse = job.made.lse;
  T* to = out.fill_data<T>() + ((problem / heads * job.sizes.queries + begin) * heads + problem % heads) * dim;
  float* to_lse = lse.fill_data<float>() + problem * job.sizes.queries + begin;
  float share[query_rows];
  for (int64_t i = 0; i < end - begin; ++i) {
    const bool blind = state.maximum[i] <= masked_score / 2;
    share[i] = blind ? 0.0f : 1.0f / state.sum[i];
    to_lse[i] = blind ? -std::numeric_limits<float>::infinity()
                      : static_cast<float>(M_LN2) * (state.maximum[i] * unit + std::log2(state.sum[i]));
  }
  const auto vectors = [&](int64_t c, int64_t i) HWY_ATTR {
    return hn::Mul(hn::LoadU(Lanes(), sums + c * query_rows + i), hn::LoadU(Lanes(), share + i));
  };
  const auto one = [&](int64_t c, int64_t i) { return sums[c * query_rows + i] * share[i]; };
  write_transposed(dim, end - begin, vectors, one, rows, job.row_step(), to, heads * dim);
}

template <class Op, typename T, class Terms>
void attend(const ForwardJob& job, const Terms& terms, int64_t problem, int64_t slot, int64_t block, float* workspace) {
  using Word = typename Op::Word;
  const AttentionSizes& n = job.sizes;
  const int64_t begin = job.query_blocks.begin(block), end = job.query_blocks.end(block);
  const int64_t vectors = (end - begin + lanes - 1) / lanes;
  const float in_log2 = static_cast<float>(job.in.scale * M_LOG2E);
  const float unit = Op::keys_per_word == 1 ? 1.0f : in_log2;  // pairs: the queries stay as they are
  float* queries = workspace;
  float* sums = queries + n.dim * query_rows;
  float* scores = sums + n.value_dim * query_rows;
  SoftmaxState state;
  state.reset();
  std::fill_n(queries, (n.dim + n.value_dim) * query_rows, 0.0f);
  Panel<Op>::transposed(rows_of<T>(job.in.q, problem, begin, end), in_log2, reinterpret_cast<Word*>(queries),
                        query_rows);

  const int64_t key_end = n.key_end(end, job.in.causal);
  for (int64_t k = 0; k < key_end; k += job.key_blocks.size) {
    const int64_t keys = std::min(job.key_blocks.size, key_end - k);
    const ScoreTile tile{scores, keys, vectors, begin, end - begin, k, unit};
    if (terms.hide(tile)) continue;
    product<Op>({.a = reinterpret_cast<const Word*>(job.key_panel(slot)) + k * job.key_step(),
                 .a_row = job.key_step(),
                 .a_step = 1,
                 .b = reinterpret_cast<const Word*>(queries),
                 .b_step = query_rows,
                 .c = scores,
                 .c_row = query_rows,
                 .steps = Panel<Op>::words(n.dim)},
                keys, vectors, FromZero());
    terms(tile);
    soften<Op>(tile, state);
    product<Op>({.a = reinterpret_cast<const Word*>(job.value_panel(slot)) + k / Op::keys_per_word * job.value_step(),
                 .a_row = 1,
                 .a_step = job.value_step(),
                 .b = reinterpret_cast<const Word*>(scores),
                 .b_step = query_rows,
                 .c = sums,
                 .c_row = query_rows,
                 .steps = Panel<Op>::words_between(keys)},
                n.value_dim, vectors, FromScaledC{state.factor});
  }
  finish<T>(job, problem, begin, end, state, unit, sums, scores + job.key_blocks.size * query_rows);
}

template <class Op, typename T>
void attend_block(const ForwardJob& job, int64_t problem, int64_t slot, int64_t block, float* workspace) {
  with_terms(job.in, problem, [&](const auto& terms) { attend<Op, T>(job, terms, problem, slot, block, workspace); });
}

bool has_pair_products() {
  return HWY_TARGET <= HWY_AVX3 && __builtin_cpu_supports("avx512bf16");
}

void pack_head(const ForwardJob& job, int64_t problem, int64_t slot) {
#if HWY_TARGET <= HWY_AVX3
  if (job.pairs) return pack<PairProduct, BFloat16>(job, problem, slot);
#endif
  with_float_type(job.in.q.dtype(), "attention", [&]<typename T>() { pack<FloatProduct, T>(job, problem, slot); });
}

void attend_queries(const ForwardJob& job, int64_t problem, int64_t slot, int64_t block, float* workspace) {
#if HWY_TARGET <= HWY_AVX3
  if (job.pairs) return attend_block<PairProduct, BFloat16>(job, problem, slot, block, workspace);
#endif
  with_float_type(job.in.q.dtype(), "attention",
                  [&]<typename T>() { attend_block<FloatProduct, T>(job, problem, slot, block, workspace); });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(has_pair_products);
HWY_EXPORT(pack_head);
HWY_EXPORT(attend_queries);

constexpr int64_t group_words = 2 << 20;  // of panels that are held at once
}  // namespace

bool has_bf16_products() {
  return HWY_DYNAMIC_DISPATCH(has_pair_products)();
}

AttentionOutputs attention_forward(const AttentionInputs& in) {
  const AttentionSizes n(in);
  ForwardJob job(in,
                 {Tensor::empty({n.batch, n.queries, n.heads, n.value_dim}, in.q.dtype()),
                  Tensor::empty({n.batch, n.heads, n.queries})},
                 in.q.dtype() == DType::bf16 && in.scale > 0 && has_bf16_products());
  const int64_t problems = n.problems(), blocks = job.query_blocks.pieces;
  const int64_t group =
      std::clamp<int64_t>(group_words / job.panel_words(), std::min<int64_t>(threads(), problems), problems);
  Tensor panels = Tensor::empty({group, job.panel_words()});
  Tensor workspace = Tensor::empty({threads(), job.workspace_words()});
  job.panels = panels.fill_data<float>();
  float* rooms = workspace.fill_data<float>();
  const auto pack = HWY_DYNAMIC_DISPATCH(pack_head);
  const auto attend = HWY_DYNAMIC_DISPATCH(attend_queries);
  for (int64_t first = 0; first < problems; first += group) {
    const int64_t count = std::min(group, problems - first);
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
      for (int64_t slot = 0; slot < count; ++slot) pack(job, first + slot, slot);
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < count * blocks; ++i) {
        attend(job, first + i / blocks, i / blocks, i % blocks, rooms + omp_get_thread_num() * job.workspace_words());
      }
    }
  }
  return job.made;
}

}  // namespace heddle::cpu
#endif
