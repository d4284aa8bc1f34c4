// Random score terms, rounded as the kernel sees them.
#include "tests/kernels/ops/attention_terms.h"

#include <cmath>
#include <limits>

namespace heddle::testing {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

// Normals, a share of them -inf.
Array random_rows(const Shape& shape, double share) {
  Array rows = to_array(to_tensor({shape, normals(41, shape.count())}, DType::f32));
  const std::vector<double> luck = normals(43, shape.count());
  for (size_t i = 0; i < luck.size(); ++i) {
    if (0.5 * std::erfc(luck[i] / std::sqrt(2.0)) < share) rows.values[i] = -inf;
  }
  return rows;
}

}  // namespace

TermArrays labels(const AttentionCase& test, int64_t count, const std::array<int64_t, 4>& extents, double share) {
  TermArrays term{{}, {extents[0], test.keys}, random_rows({extents[1], extents[2], count, extents[3]}, share)};
  for (const double v : normals(47, extents[0] * test.keys))
    term.key_class.push_back(static_cast<int64_t>(std::abs(v) * 1000) % count);
  return term;
}

TermArrays dense(const AttentionCase& test, const std::array<int64_t, 2>& extents, double share) {
  return {{}, {}, random_rows({extents[0], extents[1], test.keys, test.queries}, share)};
}

TermArrays per_key(const AttentionCase& test, const std::array<int64_t, 2>& extents) {
  return {{}, {}, random_rows({extents[0], extents[1], test.keys, 1}, 0)};
}

std::vector<TermArrays> grid_window(const AttentionCase& test, int64_t width, int64_t reach) {
  std::vector<TermArrays> terms;
  for (const bool down : {false, true}) {
    const auto coordinate = [&](int64_t token) { return down ? token / width : token % width; };
    const int64_t count = down ? (std::max(test.keys, test.queries) + width - 1) / width : width;
    TermArrays term{{}, {1, test.keys}, {{1, 1, count, test.queries}, {}}};
    for (int64_t j = 0; j < test.keys; ++j) term.key_class.push_back(coordinate(j));
    for (int64_t c = 0; c < count; ++c) {
      for (int64_t i = 0; i < test.queries; ++i)
        term.rows.values.push_back(std::abs(c - coordinate(i)) <= reach ? 0 : -inf);
    }
    terms.push_back(std::move(term));
  }
  return terms;
}

}  // namespace heddle::testing
