// oneDNN's engine, streams and reorders.
#include "kernels/cpu/onednn.h"

#include "kernels/core/device.h"

namespace heddle::cpu {
namespace {

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

}  // namespace

const dnnl::engine& engine() {
  // Never destroyed: packed weights of static objects may outlive main.
  static const dnnl::engine* const only = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *only;
}

dnnl::memory::data_type dnnl_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

DType product_dtype(DType dtype) {
  static const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
  constexpr int needed = static_cast<int>(dnnl::cpu_isa::avx512_core);
  return dtype == DType::bf16 && (isa & needed) == needed ? DType::bf16 : DType::f32;
}

dnnl::memory wrap(const MemoryDesc& desc, const void* data) { return {desc, engine(), const_cast<void*>(data)}; }

PackedBuffer repack(const MemoryDesc& from, const void* data, const MemoryDesc& to) {
  PackedBuffer out{to, allocate(static_cast<int64_t>(to.get_size()))};
  try {
    const dnnl::reorder::primitive_desc pd(engine(), from, engine(), to, counted_attributes());
    Prepared{dnnl::reorder(pd), pd.scratchpad_desc()}.execute({{DNNL_ARG_FROM, wrap(from, data)}, {DNNL_ARG_TO, out.memory()}});
  } catch (const dnnl::error& error) {
    fail(ErrorCode::internal, "onednn", "a reorder", error.message);
  }
  return out;
}

void Prepared::execute(std::unordered_map<int, dnnl::memory> arguments) const {
  const size_t bytes = scratchpad.get_size();
  const auto scratch = bytes > 0 ? allocate(static_cast<int64_t>(bytes)) : nullptr;
  if (scratch) arguments.emplace(DNNL_ARG_SCRATCHPAD, wrap(scratchpad, scratch.get()));
  try {
    primitive.execute(stream(), arguments);
    stream().wait();
  } catch (const dnnl::error& error) {
    fail(ErrorCode::internal, "onednn", "a run without error", error.message);
  }
}

dnnl::primitive_attr counted_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

int64_t PreparedCache::thread_count() { return threads(); }

}  // namespace heddle::cpu
