// Single columns of the attention map, P^T[j][i] = exp(scale * k_j.q_i + terms - lse_i), read back from the
// log-sum-exp, and their gradient: with dS = P * dP, dQ = scale * dS K, dK = scale * dS^T Q, dLSE = -rowsum(dS).
// Queries lie along vectors, as in attention itself; bf16 is widened, for the chosen keys are few.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_columns.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <omp.h>

#include <cmath>

#include "kernels/cpu/attention_columns_job.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/panel-inl.h"
#include "kernels/cpu/score_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;

int64_t vectors_of(const ColumnJob& job, int64_t block) {
  return (job.query_blocks.end(block) - job.query_blocks.begin(block) + lanes - 1) / lanes;
}

template <typename T>
void pack_chosen(const ColumnJob& job, int64_t problem, float* to) {
  const RowSource<T> k = rows_of<T>(job.in().k, problem, 0, job.sizes.keys);
  for (int64_t t = 0; t < job.columns(); ++t) {
    Panel<FloatProduct>::by_feature(RowSource<T>{k.row(job.of.keys[t]), k.stride, 1, k.dim}, to + t * job.key_step(),
                                    job.key_step());
  }
}

template <typename T>
void pack_block(const ColumnJob& job, int64_t problem, int64_t block, const ColumnRoom& room, bool by_row) {
  const int64_t begin = job.query_blocks.begin(block), end = job.query_blocks.end(block);
  const RowSource<T> q = rows_of<T>(job.in().q, problem, begin, end);
  std::fill_n(room.queries, job.sizes.dim * query_rows, 0.0f);
  Panel<FloatProduct>::transposed(q, static_cast<float>(job.in().scale * M_LOG2E), room.queries, query_rows);
  if (by_row) {
    std::fill_n(room.rows, query_rows * job.dim_step(), 0.0f);
    Panel<FloatProduct>::by_row(q, room.rows, job.dim_step());
  }
  const float* lse = job.of.lse.data<float>() + problem * job.sizes.queries + begin;
  std::fill_n(room.lse, query_rows, -masked_score);  // rows without keys or past the end weigh nothing
  for (int64_t i = 0; i < end - begin; ++i) {
    if (!std::isinf(lse[i])) room.lse[i] = lse[i] * static_cast<float>(M_LOG2E);
  }
}

// room.p[t][i] for one tile of columns.
void weigh(const ColumnJob& job, int64_t problem, int64_t block, int64_t tile, const float* panel,
           const ColumnRoom& room) {
  const Lanes d;
  const int64_t first = job.tiles.begin(tile), count = job.tiles.end(tile) - first, vectors = vectors_of(job, block);
  product<FloatProduct>(
      {panel + first * job.key_step(), job.key_step(), 1, room.queries, query_rows, room.p, query_rows, job.sizes.dim},
      count, vectors, FromZero());
  const int64_t begin = job.query_blocks.begin(block);
  const ScoreTile scores{
      room.p, count, vectors, begin, job.query_blocks.end(block) - begin, 0, 1.0f, job.of.keys.data() + first};
  with_terms(job.in(), problem, [&](const auto& terms) { terms(scores); });
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t r = 0; r < vectors * lanes; r += lanes) {
      float* at = room.p + t * query_rows + r;
      // A log-sum-exp of other keys may lie far below the score; 2^127 is as far as weights go.
      const LanesVec x = hn::Sub(hn::LoadU(d, at), hn::LoadU(d, room.lse + r));
      hn::StoreU(exp2_of(d, hn::Min(hn::Set(d, 127.0f), x)), d, at);
    }
  }
}

// One tile of columns of a block of queries, all heads.
template <typename T>
void read_block(const ColumnJob& job, int64_t batch, int64_t block, int64_t tile, const ColumnRoom& room, Tensor& out) {
  const int64_t heads = job.sizes.heads, first = job.tiles.begin(tile), count = job.tiles.end(tile) - first;
  const int64_t begin = job.query_blocks.begin(block), rows = job.query_blocks.end(block) - begin;
  const bool mean = job.of.mean_over_heads;
  if (mean) std::fill_n(room.sum, count * query_rows, 0.0f);
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t problem = batch * heads + h;
    pack_block<T>(job, problem, block, room, false);
    weigh(job, problem, block, tile, job.panel(problem), room);
    const bool write = !mean || h + 1 == heads;
    const float share = mean ? 1.0f / static_cast<float>(heads) : 1.0f;
    float* to = out.fill_data<float>() + ((mean ? batch : problem) * job.sizes.queries + begin) * job.columns() + first;
    for (int64_t i = 0; mean && i < count * query_rows; ++i) room.sum[i] += room.p[i];
    const float* from = mean ? room.sum : room.p;
    for (int64_t i = 0; write && i < rows; ++i) {
      for (int64_t t = 0; t < count; ++t) to[i * job.columns() + t] = share * from[t * query_rows + i];
    }
  }
}

// room.p becomes dS; -dLSE is summed over the columns.
void differentiate(const ColumnJob& job, int64_t problem, int64_t block, int64_t tile, const Tensor& d_out,
                   const ColumnRoom& room) {
  const bool mean = job.of.mean_over_heads;
  const float share = mean ? 1.0f / static_cast<float>(job.sizes.heads) : 1.0f;
  const int64_t first = job.tiles.begin(tile), count = job.tiles.end(tile) - first;
  const int64_t begin = job.query_blocks.begin(block), rows = job.query_blocks.end(block) - begin;
  const int64_t place = (mean ? problem / job.sizes.heads : problem) * job.sizes.queries + begin;
  const float* from = d_out.data<float>() + place * job.columns() + first;
  for (int64_t t = 0; t < count; ++t) {
    float* p = room.p + t * query_rows;
    for (int64_t i = 0; i < rows; ++i) {
      p[i] *= share * from[i * job.columns() + t];
      room.d_lse[i] += p[i];
    }
  }
}

template <typename T>
void write_block(const ColumnJob& job, int64_t problem, int64_t block, const ColumnRoom& room, ColumnGradients& back) {
  const int64_t begin = job.query_blocks.begin(block), rows = job.query_blocks.end(block) - begin;
  const int64_t dim = job.sizes.dim, heads = job.sizes.heads, row = heads * dim;
  float* d_lse = back.lse.fill_data<float>() + problem * job.sizes.queries + begin;
  T* d_q = back.q.fill_data<T>() + ((problem / heads * job.sizes.queries + begin) * heads + problem % heads) * dim;
  for (int64_t i = 0; i < rows; ++i) d_lse[i] = -room.d_lse[i];
  const LanesVec scale = hn::Set(Lanes(), job.in().scale);
  const auto vectors = [&](int64_t c, int64_t i)
                           HWY_ATTR { return hn::Mul(scale, hn::LoadU(Lanes(), room.d_queries + c * query_rows + i)); };
  const auto one = [&](int64_t c, int64_t i) { return job.in().scale * room.d_queries[c * query_rows + i]; };
  write_transposed(dim, rows, vectors, one, room.rows, job.dim_step(), d_q, row);
}

// A run of blocks of one head; `d_keys` [T][dim_step] is this run's share of dK.
template <typename T>
void add_part(const ColumnJob& job, int64_t problem, int64_t part, const Tensor& d_out, const ColumnRoom& room,
              float* d_keys, ColumnGradients& back) {
  const float* panel = job.panel(problem);
  std::fill_n(d_keys, job.columns() * job.dim_step(), 0.0f);
  for (int64_t block = job.parts.begin(part); block < job.parts.end(part); ++block) {
    const int64_t rows = job.query_blocks.end(block) - job.query_blocks.begin(block), vectors = vectors_of(job, block);
    pack_block<T>(job, problem, block, room, true);
    std::fill_n(room.d_queries, job.sizes.dim * query_rows, 0.0f);
    std::fill_n(room.d_lse, query_rows, 0.0f);
    for (int64_t tile = 0; tile < job.tiles.pieces; ++tile) {
      const int64_t first = job.tiles.begin(tile), count = job.tiles.end(tile) - first;
      weigh(job, problem, block, tile, panel, room);
      differentiate(job, problem, block, tile, d_out, room);
      product<FloatProduct>(
          {panel + first * job.key_step(), 1, job.key_step(), room.p, query_rows, room.d_queries, query_rows, count},
          job.sizes.dim, vectors, FromC());
      product<FloatProduct>(
          {room.p, query_rows, 1, room.rows, job.dim_step(), d_keys + first * job.dim_step(), job.dim_step(), rows},
          count, (job.sizes.dim + lanes - 1) / lanes, FromC());
    }
    write_block<T>(job, problem, block, room, back);
  }
}

void pack_columns(const ColumnJob& job, int64_t problem, float* to) {
  with_float_type(job.in().k.dtype(), "attention_columns", [&]<typename T>() { pack_chosen<T>(job, problem, to); });
}

void read_columns(const ColumnJob& job, int64_t batch, int64_t block, int64_t tile, float* room, Tensor& out) {
  with_float_type(job.in().q.dtype(), "attention_columns",
                  [&]<typename T>() { read_block<T>(job, batch, block, tile, ColumnRoom(job, room), out); });
}

void add_columns(const ColumnJob& job, int64_t problem, int64_t part, const Tensor& d_out, float* room, float* d_keys,
                 ColumnGradients& back) {
  with_float_type(job.in().q.dtype(), "attention_columns",
                  [&]<typename T>() { add_part<T>(job, problem, part, d_out, ColumnRoom(job, room), d_keys, back); });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(pack_columns);
HWY_EXPORT(read_columns);
HWY_EXPORT(add_columns);

Tensor packed(ColumnJob& job) {
  Tensor panels = Tensor::empty({job.sizes.problems(), job.columns(), job.key_step()});
  job.panels = panels.data<float>();
  const auto pack = HWY_DYNAMIC_DISPATCH(pack_columns);
  float* to = panels.fill_data<float>();
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < job.sizes.problems(); ++p) pack(job, p, to + p * job.columns() * job.key_step());
  return panels;
}

// dK from each part's share [problem][part][T][dim_step]; a key that was chosen twice gets both.
template <typename T>
void write_keys(const ColumnJob& job, Tensor& shares, Tensor& d_k) {
  const int64_t dim = job.sizes.dim, heads = job.sizes.heads, parts = job.parts.pieces;
  const std::vector<int64_t> home = job.first_uses();
#pragma omp parallel for schedule(static)
  for (int64_t problem = 0; problem < job.sizes.problems(); ++problem) {
    float* first = shares.fill_data<float>() + problem * parts * job.columns() * job.dim_step();
    for (int64_t part = 0; part < parts; ++part) {
      for (int64_t t = 0; t < job.columns(); ++t) {
        if (part == 0 && home[t] == t) continue;
        const float* from = first + (part * job.columns() + t) * job.dim_step();
        for (int64_t c = 0; c < dim; ++c) first[home[t] * job.dim_step() + c] += from[c];
      }
    }
    T* to = d_k.fill_data<T>() + (problem / heads * job.sizes.keys * heads + problem % heads) * dim;
    for (int64_t t = 0; t < job.columns(); ++t) {
      if (home[t] != t) continue;
      for (int64_t c = 0; c < dim; ++c)
        to[job.of.keys[t] * heads * dim + c] = T(job.in().scale * first[t * job.dim_step() + c]);
    }
  }
}
}  // namespace

Tensor attention_columns(const ColumnInputs& of) {
  ColumnJob job(of);
  const AttentionSizes& n = job.sizes;
  const Tensor panels = packed(job);
  Tensor out = Tensor::empty(of.mean_over_heads ? Shape{n.batch, n.queries, job.columns()}
                                                : Shape{n.batch, n.heads, n.queries, job.columns()});
  Tensor rooms = Tensor::empty({threads(), job.room_words()});
  float* room = rooms.fill_data<float>();
  const int64_t blocks = job.query_blocks.pieces, tiles = job.tiles.pieces;
  const auto read = HWY_DYNAMIC_DISPATCH(read_columns);
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < n.batch * blocks * tiles; ++i) {
    read(job, i / tiles / blocks, i / tiles % blocks, i % tiles, room + omp_get_thread_num() * job.room_words(), out);
  }
  return out;
}

ColumnGradients attention_columns_backward(const ColumnInputs& of, const Tensor& cotangent) {
  ColumnJob job(of);
  const Tensor panels = packed(job);
  ColumnGradients back{Tensor::empty(of.in.q.shape(), of.in.q.dtype()), Tensor::zeros(of.in.k.shape(), of.in.k.dtype()),
                       Tensor::empty(of.lse.shape())};
  const int64_t parts = job.parts.pieces, share = job.columns() * job.dim_step();
  Tensor shares = Tensor::empty({job.sizes.problems(), parts, share});
  Tensor rooms = Tensor::empty({threads(), job.room_words()});
  float *d_keys = shares.fill_data<float>(), *room = rooms.fill_data<float>();
  const auto add = HWY_DYNAMIC_DISPATCH(add_columns);
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < job.sizes.problems() * parts; ++i) {
    add(job, i / parts, i % parts, cotangent, room + omp_get_thread_num() * job.room_words(), d_keys + i * share, back);
  }
  with_float_type(of.in.k.dtype(), "attention_columns", [&]<typename T>() { write_keys<T>(job, shares, back.k); });
  return back;
}

}  // namespace heddle::cpu
#endif
