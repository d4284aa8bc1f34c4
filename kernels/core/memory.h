// Counted memory of tensors and packed weights. Freed buffers wait in a pool and are handed out again within a step.
#pragma once

#include <cstdint>
#include <memory>

namespace heddle {

struct MemoryStats {
  int64_t in_use = 0;       // bytes of living buffers
  int64_t pooled = 0;       // bytes that wait for reuse
  int64_t peak = 0;         // largest in_use + pooled since the last reset
  int64_t allocations = 0;  // buffers taken from the system (not from the pool)
};

MemoryStats memory_stats();
void reset_peak_memory();

// Bytes that in_use may reach; the allocation that would pass it throws Error(memory). 0: no limit.
void set_memory_budget(int64_t bytes);

// Gives the pool back to the system.
void trim_memory();

// `bytes` bytes, aligned to 64, not initialised. Thread-safe.
std::shared_ptr<std::byte> allocate(int64_t bytes);

}  // namespace heddle
