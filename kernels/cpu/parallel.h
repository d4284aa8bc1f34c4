// Cuts long loops over the one pool of threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace heddle::cpu {

constexpr int64_t worth_a_thread = 32768;  // elements; below, waking threads costs more than it saves

// f(begin, end) for pieces of [0, count); `cost` is elements touched per index. Pieces do not depend on the threads.
template <typename F>
void for_pieces(int64_t count, int64_t cost, const F& f) {
  const int64_t piece = std::max<int64_t>(1, worth_a_thread / 2 / std::max<int64_t>(1, cost));
  const int64_t pieces = (count + piece - 1) / piece;
#pragma omp parallel for schedule(static) if (count * cost > worth_a_thread)
  for (int64_t i = 0; i < pieces; ++i) f(i * piece, std::min(count, (i + 1) * piece));
}

}  // namespace heddle::cpu
