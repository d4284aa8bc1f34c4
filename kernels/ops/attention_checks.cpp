// Shapes, dtypes and classes of attention's arguments.
#include "kernels/ops/attention_checks.h"

#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr size_t most_terms = 8;

bool is(int64_t extent, int64_t wanted) {
  return extent == 1 || extent == wanted;
}

[[noreturn]] void refuse(std::string_view where, size_t index, const std::string& wanted, const std::string& got,
                         std::string_view hint = {}) {
  fail(ErrorCode::internal, where, "terms[" + std::to_string(index) + "] with " + wanted, got, hint);
}

// Classes as dense i64 [1|B,Nk].
Tensor checked_classes(std::string_view where, size_t index, const ScoreTerm& term, const AttentionExtents& n) {
  const Tensor& given = term.key_class;
  const std::string shape = "key_class [1 or " + std::to_string(n.batch) + ", " + std::to_string(n.keys) + "] i64";
  if (given.rank() != 2 || !is(given.dim(0), n.batch) || given.dim(1) != n.keys || given.dtype() != DType::i64) {
    refuse(where, index, shape, given.shape().text() + " " + std::string(name_of(given.dtype())));
  }
  const Tensor classes = contiguous(given.detach());
  const int64_t* ids = classes.data<int64_t>();
  const int64_t count = term.rows.dim(2);
  for (int64_t i = 0; i < classes.count(); ++i) {
    if (ids[i] < 0 || ids[i] >= count) {
      refuse(where, index, "classes in 0.." + std::to_string(count - 1),
             std::to_string(ids[i]) + " for key " + std::to_string(i % n.keys), "a row for each class");
    }
  }
  return classes;
}

ScoreTerm checked_term(std::string_view where, size_t index, const ScoreTerm& term, const AttentionExtents& n) {
  const Tensor& rows = term.rows;
  if (!rows.defined()) refuse(where, index, "rows", "none");
  const bool fits = rows.rank() == 4 && rows.dtype() == DType::f32 && is(rows.dim(0), n.batch) &&
                    is(rows.dim(1), n.heads) && rows.dim(2) > 0 && is(rows.dim(3), n.queries);
  if (!fits) {
    refuse(where, index,
           "rows [1 or " + std::to_string(n.batch) + ", 1 or " + std::to_string(n.heads) + ", classes, 1 or " +
               std::to_string(n.queries) + "] f32",
           rows.shape().text() + " " + std::string(name_of(rows.dtype())));
  }
  check_dense_last_axis(where, rows, "terms' rows");
  if (term.key_class.defined()) return {checked_classes(where, index, term, n), rows.detach()};
  if (rows.dim(2) != n.keys) {
    refuse(where, index, std::to_string(n.keys) + " rows, one for each key", std::to_string(rows.dim(2)),
           "a key_class");
  }
  return {Tensor(), rows.detach()};
}

}  // namespace

void check_dense_last_axis(std::string_view where, const Tensor& x, const char* name) {
  if (x.dim(-1) > 1 && x.stride(-1) != 1) {
    fail(ErrorCode::internal, where, std::string(name) + " with a dense last axis",
         "stride " + std::to_string(x.stride(-1)), "contiguous()");
  }
}

AttentionExtents check_queries_and_keys(std::string_view where, const Tensor& q, const Tensor& k) {
  if (!q.defined() || !k.defined() || q.rank() != 4 || k.rank() != 4) {
    fail(ErrorCode::internal, where, "q and k of rank 4 [B,N,H,D]", q.shape().text() + " and " + k.shape().text());
  }
  const Shape keys{q.dim(0), k.dim(1), q.dim(2), q.dim(3)};
  if (!(k.shape() == keys)) {
    fail(ErrorCode::internal, where, "k " + keys.text() + " for q " + q.shape().text(), k.shape().text());
  }
  if ((q.dtype() != DType::f32 && q.dtype() != DType::bf16) || k.dtype() != q.dtype()) {
    fail(ErrorCode::internal, where, "q and k both f32 or both bf16",
         std::string(name_of(q.dtype())) + " and " + std::string(name_of(k.dtype())));
  }
  check_dense_last_axis(where, q, "q");
  check_dense_last_axis(where, k, "k");
  return {q.dim(0), q.dim(2), q.dim(1), k.dim(1)};
}

double score_scale(const AttentionOptions& options, const Tensor& q) {
  return options.scale != 0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(q.dim(3)));
}

std::vector<ScoreTerm> checked_terms(std::string_view where, const AttentionOptions& options,
                                     const AttentionExtents& n) {
  if (options.terms.size() > most_terms) {
    fail(ErrorCode::internal, where, "at most " + std::to_string(most_terms) + " terms",
         std::to_string(options.terms.size()), "the sum of those that share their classes");
  }
  std::vector<ScoreTerm> checked;
  for (size_t i = 0; i < options.terms.size(); ++i) checked.push_back(checked_term(where, i, options.terms[i], n));
  return checked;
}

}  // namespace heddle
