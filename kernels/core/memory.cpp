// A best-fit pool over the system's aligned allocator.
#include "kernels/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int64_t alignment = 64;
constexpr int64_t page = 4096;
constexpr int64_t huge_page = int64_t{2} << 20;
constexpr int64_t mapped_from = int64_t{1} << 20;  // blocks of this size and more come straight from the kernel
// Small networks ask for their blocks again in every call: without some room to spare each would come from the kernel
// anew.
constexpr int64_t slack = int64_t{32} << 20;

class Pool {
 public:
  std::byte* take(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (budget_ > 0 && stats_.in_use + bytes > budget_) over_budget(bytes);
    std::byte* block = reuse(bytes);
    if (block == nullptr) block = from_system(bytes);
    const int64_t size = sizes_[block];
    stats_.in_use += size;
    lived_ = std::max(lived_, stats_.in_use);
    stats_.peak = std::max(stats_.peak, stats_.in_use + stats_.pooled);
    return block;
  }

  void give(std::byte* block) {
    const std::lock_guard lock(mutex_);
    const int64_t size = sizes_[block];
    stats_.in_use -= size;
    stats_.pooled += size;
    free_.emplace(size, block);
  }

  void trim() {
    const std::lock_guard lock(mutex_);
    release_all();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use + stats_.pooled;
    lived_ = stats_.in_use;
  }

  void set_budget(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    budget_ = bytes;
  }

 private:
  // A pooled block serves a request when at most a quarter of it would lie idle.
  std::byte* reuse(int64_t bytes) {
    const auto found = free_.lower_bound(bytes);
    if (found == free_.end() || found->first > bytes + bytes / 4 + 4096) return nullptr;
    std::byte* block = found->second;
    stats_.pooled -= found->first;
    free_.erase(found);
    return block;
  }

  std::byte* from_system(int64_t bytes) {
    // What the pool holds makes the process hardly larger than the living buffers once were, and never than the budget.
    const int64_t most = budget_ > 0 ? std::min(lived_ + slack, budget_) : lived_ + slack;
    if (stats_.in_use + stats_.pooled + bytes > most) release_largest(bytes);
    const int64_t unit = bytes >= mapped_from ? page : alignment;
    const int64_t size = (std::max<int64_t>(bytes, 1) + unit - 1) / unit * unit;
    auto* block = static_cast<std::byte*>(
        size >= mapped_from ? map(size) : std::aligned_alloc(alignment, static_cast<size_t>(size)));
    if (block == nullptr) {
      fail(ErrorCode::memory, "memory", std::to_string(bytes) + " bytes", "none from the system", "a smaller size");
    }
    ++stats_.allocations;
    sizes_[block] = size;
    return block;
  }

  // Large blocks are mapped one by one, so that a released one leaves the process at once; they begin at a huge page,
  // and all of it that fills huge pages asks for them.
  static void* map(int64_t size) {
    const int64_t mapped = size + huge_page;
    void* raw = mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    auto* begin = static_cast<std::byte*>(raw);
    const int64_t skip = (huge_page - static_cast<int64_t>(reinterpret_cast<uintptr_t>(raw)) % huge_page) % huge_page;
    if (skip > 0) munmap(begin, static_cast<size_t>(skip));
    if (mapped - skip > size) munmap(begin + skip + size, static_cast<size_t>(mapped - skip - size));
    madvise(begin + skip, static_cast<size_t>(size / huge_page * huge_page), MADV_HUGEPAGE);
    return begin + skip;
  }

  void release(std::multimap<int64_t, std::byte*>::iterator entry) {
    stats_.pooled -= entry->first;
    sizes_.erase(entry->second);
    if (entry->first >= mapped_from)
      munmap(entry->second, static_cast<size_t>(entry->first));
    else
      std::free(entry->second);
    free_.erase(entry);
  }

  void release_largest(int64_t wanted) {
    while (!free_.empty() && wanted > 0) {
      wanted -= std::prev(free_.end())->first;
      release(std::prev(free_.end()));
    }
  }

  void release_all() {
    while (!free_.empty()) release(free_.begin());
  }

  [[noreturn]] void over_budget(int64_t bytes) {
    fail(ErrorCode::memory, "memory_budget", "at most " + std::to_string(budget_) + " bytes",
         std::to_string(stats_.in_use) + " in use and " + std::to_string(bytes) + " more asked for",
         "a larger memory_budget, a smaller size, fewer images or dtype bf16");
  }

  std::mutex mutex_;
  std::multimap<int64_t, std::byte*> free_;
  std::map<std::byte*, int64_t> sizes_;
  MemoryStats stats_;
  int64_t lived_ = 0;  // most bytes that were in use at once
  int64_t budget_ = 0;
};

// Never destroyed: buffers of static tensors may be returned after main.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

MemoryStats memory_stats() {
  return pool().stats();
}
void reset_peak_memory() {
  pool().reset_peak();
}
void set_memory_budget(int64_t bytes) {
  pool().set_budget(bytes);
}
void trim_memory() {
  pool().trim();
}

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  return {pool().take(bytes), [](std::byte* block) { pool().give(block); }};
}

}  // namespace heddle
