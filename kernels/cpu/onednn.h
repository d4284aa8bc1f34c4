// oneDNN behind heddle's memory and errors: one engine, a stream per thread, counted scratchpads, cached primitives.
#pragma once

#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"
#include "kernels/core/memory.h"

namespace heddle::cpu {

using Dims = dnnl::memory::dims;
using MemoryDesc = dnnl::memory::desc;

const dnnl::engine& engine();
dnnl::memory::data_type dnnl_type(DType dtype);

// The dtype in which products of `dtype` are computed here: bf16 needs AVX-512, elsewhere it is computed through f32.
DType product_dtype(DType dtype);

// A memory object over elements of somebody else.
dnnl::memory wrap(const MemoryDesc& desc, const void* data);

struct PackedBuffer {
  MemoryDesc desc;
  std::shared_ptr<std::byte> data;
  dnnl::memory memory() const { return wrap(desc, data.get()); }
};
// A copy of `data` in the layout `to`.
PackedBuffer repack(const MemoryDesc& from, const void* data, const MemoryDesc& to);

// A primitive with the scratchpad it asks for. execute() may run on many threads at once.
struct Prepared {
  dnnl::primitive primitive;
  MemoryDesc scratchpad;
  void execute(std::unordered_map<int, dnnl::memory> arguments) const;
};

// Scratchpads come from the caller, so that they are counted.
dnnl::primitive_attr counted_attributes();

// Primitives by shape. The number of threads is part of the key, because a primitive is planned for it.
class PreparedCache {
 public:
  using Key = std::vector<int64_t>;
  template <typename Make>
  Prepared get(Key key, const Make& make) {
    key.push_back(thread_count());
    const std::lock_guard lock(mutex_);
    const auto found = made_.find(key);
    if (found != made_.end()) return found->second;
    try {
      return made_.emplace(std::move(key), make()).first->second;
    } catch (const dnnl::error& error) {
      fail(error.status == dnnl_out_of_memory ? ErrorCode::memory : ErrorCode::internal, "onednn", "a kernel", error.message);
    }
  }

 private:
  static int64_t thread_count();
  std::mutex mutex_;
  std::map<Key, Prepared> made_;
};

}  // namespace heddle::cpu
