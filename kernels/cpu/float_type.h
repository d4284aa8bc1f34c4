// Calls a kernel template with the C++ type of a compute dtype. Public to kernels only.
#pragma once

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace heddle::cpu {

// f.template operator()<T>() with T float or BFloat16; Error(internal) for a dtype that is not computed in.
template <typename F>
auto with_float_type(DType dtype, const char* op, F f) {
  if (dtype == DType::f32) return f.template operator()<float>();
  if (dtype == DType::bf16) return f.template operator()<BFloat16>();
  fail(ErrorCode::internal, op, "f32 or bf16", name_of(dtype));
}

}  // namespace heddle::cpu
