// The counter.
#include "kernels/core/flops.h"

#include <atomic>

namespace heddle {
namespace {
std::atomic<int64_t> counted{0};
}

void count_flops(int64_t flops) { counted.fetch_add(flops, std::memory_order_relaxed); }
int64_t flops_counted() { return counted.load(std::memory_order_relaxed); }

}  // namespace heddle
