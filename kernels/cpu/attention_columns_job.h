// How reading single columns of the map is cut into tasks, and a thread's buffers.
#pragma once

#include <map>

#include "kernels/cpu/attention_job.h"

namespace heddle::cpu {

struct ColumnJob {
  const ColumnInputs& of;
  AttentionSizes sizes;
  Pieces query_blocks, tiles;     // tiles: of the chosen keys
  Pieces parts;                   // of the blocks of one head, each with its own sum of dK; from the shape alone
  const float* panels = nullptr;  // chosen keys by feature, [problem][T][key_step]

  explicit ColumnJob(const ColumnInputs& of)
      : of(of),
        sizes(of.in),
        query_blocks(sizes.queries, query_rows, query_grain),
        tiles(columns(), 96, 1),
        parts(query_blocks.pieces, std::max<int64_t>(1, query_blocks.pieces * sizes.problems() / least_tasks), 1) {}

  const AttentionInputs& in() const { return of.in; }
  int64_t columns() const { return static_cast<int64_t>(of.keys.size()); }
  int64_t key_step() const { return panel_step(sizes.dim); }
  int64_t dim_step() const { return (sizes.dim + 15) / 16 * 16; }
  const float* panel(int64_t problem) const { return panels + problem * columns() * key_step(); }
  // For each column the first one that asks for the same key.
  std::vector<int64_t> first_uses() const {
    std::vector<int64_t> home(of.keys.size());
    std::map<int64_t, int64_t> seen;
    for (int64_t t = 0; t < columns(); ++t) home[t] = seen.emplace(of.keys[t], t).first->second;
    return home;
  }
  int64_t room_words() const {
    return 2 * sizes.dim * query_rows + query_rows * dim_step() + 2 * tiles.size * query_rows + 2 * query_rows;
  }

  static constexpr int64_t least_tasks = 8;
};

// One thread's buffers within its room.
struct ColumnRoom {
  float *queries, *rows, *d_queries;  // [D][64], [64][dim_step], [D][64]
  float *p, *sum;                     // [tile][64]: weights, then dS; their sum over heads
  float *lse, *d_lse;                 // [64]
  ColumnRoom(const ColumnJob& job, float* room)
      : queries(room),
        rows(queries + job.sizes.dim * query_rows),
        d_queries(rows + query_rows * job.dim_step()),
        p(d_queries + job.sizes.dim * query_rows),
        sum(p + job.tiles.size * query_rows),
        lse(sum + job.tiles.size * query_rows),
        d_lse(lse + query_rows) {}
};

}  // namespace heddle::cpu
