// The work of attention's backward pass: which buffers a head needs, where they lie, and how it is cut into tasks.
#pragma once

#include "kernels/cpu/attention_job.h"

namespace heddle::cpu {

enum class BackwardStep : uint8_t { pack, add, write };

// Words that the row-pair and row panels of a block of queries hold are the same number for floats and bf16 pairs.
struct BackwardJob {
  const AttentionInputs& in;
  const AttentionOutputs& saved;
  const AttentionOutputs& cotangents;
  AttentionGradients back;
  AttentionSizes sizes;
  bool pairs;  // bf16 products

  Pieces query_blocks, key_blocks;  // tiles
  Pieces key_spans;                 // keys whose panels and gradients stay in the second-level cache
  Pieces parts;                     // of the spans: tasks of one head, each with its own sum of dQ

  BackwardJob(const AttentionInputs& in, const AttentionOutputs& saved, const AttentionOutputs& cotangents, bool pairs)
      : in(in),
        saved(saved),
        cotangents(cotangents),
        back{Tensor::empty(in.q.shape(), in.q.dtype()), Tensor::empty(in.k.shape(), in.q.dtype()),
             Tensor::empty(in.v.shape(), in.q.dtype())},
        sizes(in),
        pairs(pairs),
        query_blocks(sizes.queries, query_rows, query_grain),
        key_blocks(sizes.keys, 48, 12),
        key_spans(
            sizes.keys,
            std::max(least_span, span_words / (4 * (sizes.dim + sizes.value_dim)) / key_blocks.size) * key_blocks.size,
            key_blocks.size),
        parts(key_spans.pieces, (key_spans.pieces * sizes.problems() + least_tasks - 1) / least_tasks, 1) {}

  int64_t words(int64_t dim) const { return pairs ? (dim + 1) / 2 : dim; }
  int64_t key_rows() const { return pairs ? (sizes.keys + 1) / 2 : sizes.keys; }
  int64_t key_step() const { return panel_step(words(sizes.dim)); }          // keys by feature
  int64_t value_step() const { return panel_step(words(sizes.value_dim)); }  // values by feature
  int64_t key_row_step() const { return panel_step(sizes.dim); }             // keys by row
  // Rows of gradients and of what they are summed from: whole vectors of any instruction set.
  int64_t dim_step() const { return (sizes.dim + 15) / 16 * 16; }
  int64_t value_dim_step() const { return (sizes.value_dim + 15) / 16 * 16; }

  // One head's buffers, in this order. A float's keys by row are its keys by feature.
  int64_t keys_at() const { return 0; }
  int64_t values_at() const { return keys_at() + sizes.keys * key_step(); }
  int64_t keys_by_row_at() const { return pairs ? values_at() + sizes.keys * value_step() : keys_at(); }
  int64_t d_keys_at() const {
    return values_at() + sizes.keys * value_step() + (pairs ? key_rows() * key_row_step() : 0);
  }
  int64_t d_values_at() const { return d_keys_at() + sizes.keys * dim_step(); }
  int64_t query_block_at(int64_t block) const {
    return d_values_at() + sizes.keys * value_dim_step() + block * query_block_words();
  }
  int64_t d_queries_at(int64_t part, int64_t block) const {
    return query_block_at(query_blocks.pieces) + (part * query_blocks.pieces + block) * sizes.dim * query_rows;
  }
  int64_t head_words() const { return d_queries_at(parts.pieces, 0); }

  // Within a block of queries: q and dO transposed, both by row, then log-sum-exp and rowsum(dO * O) - dLSE.
  int64_t d_out_at() const { return sizes.dim * query_rows; }
  int64_t query_rows_at() const { return d_out_at() + sizes.value_dim * query_rows; }
  int64_t d_out_rows_at() const { return query_rows_at() + query_rows * dim_step(); }
  int64_t lse_at() const { return d_out_rows_at() + query_rows * value_dim_step(); }
  int64_t shift_at() const { return lse_at() + query_rows; }
  int64_t query_block_words() const { return shift_at() + query_rows; }

  int64_t row_step() const { return panel_step(dim_step()); }  // of dQ's rows, while they are written
  int64_t workspace_words() const { return std::max(3 * key_blocks.size, row_step()) * query_rows; }

  static constexpr int64_t span_words = 1 << 18;
  static constexpr int64_t least_span = 6;   // tiles; for fewer, fetching the queries again costs more than it saves
  static constexpr int64_t least_tasks = 8;  // about; whatever the number of threads: sums keep one order
};

}  // namespace heddle::cpu
