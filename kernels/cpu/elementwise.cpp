// Elementwise loops: strided operands are walked run by run, and each run is vectorised where its elements are
// neighbours.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <cmath>
#include <cstring>

#include "kernels/core/error.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided.h"

#ifndef HEDDLE_ELEMENTWISE_RUN
#define HEDDLE_ELEMENTWISE_RUN
namespace heddle::cpu {
namespace {

// `count` elements of a walk; steps in elements. The output is dense.
struct Run {
  int64_t count;
  int64_t x, y, out;  // first elements
  int64_t x_step, y_step, out_step;
};

enum class RunOp : uint8_t {
  add,
  subtract,
  multiply,
  divide,
  maximum,
  weighted_sum,
  affine,
  square,
  square_root,
  exponential,
  logarithm,
  absolute,
  clamp
};

struct RunJob {
  RunOp op;
  const Tensor& x;
  const Tensor& y;  // x again for ops of one operand
  Tensor& out;
  float p = 0, r = 0;
};

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

// Each element of a vector put through a function that has no vector form.
template <class F>
HWY_INLINE V lane_by_lane(V x, F f) {
  float room[float_lanes];
  hn::StoreU(x, Floats(), room);
  for (float& v : room) v = f(v);
  return hn::LoadU(Floats(), room);
}

// f.template operator()(g) with g(x, y) on vectors.
template <class F>
HWY_INLINE void with_operation(const RunJob& job, const F& f) {
  const V p = hn::Set(Floats(), job.p), r = hn::Set(Floats(), job.r);
  switch (job.op) {
    case RunOp::add:
      return f([](V x, V y) HWY_ATTR { return hn::Add(x, y); });
    case RunOp::subtract:
      return f([](V x, V y) HWY_ATTR { return hn::Sub(x, y); });
    case RunOp::multiply:
      return f([](V x, V y) HWY_ATTR { return hn::Mul(x, y); });
    case RunOp::divide:
      return f([](V x, V y) HWY_ATTR { return hn::Div(x, y); });
    case RunOp::maximum:
      return f([](V x, V y) HWY_ATTR { return hn::IfThenElse(hn::Ge(x, y), x, y); });
    case RunOp::weighted_sum:
      return f([=](V x, V y) HWY_ATTR { return hn::Add(hn::Mul(p, x), hn::Mul(r, y)); });
    case RunOp::affine:
      return f([=](V x, V) HWY_ATTR { return hn::Add(hn::Mul(x, p), r); });
    case RunOp::square:
      return f([](V x, V) HWY_ATTR { return hn::Mul(x, x); });
    case RunOp::square_root:
      return f([](V x, V) HWY_ATTR { return hn::Sqrt(x); });
    case RunOp::exponential:
      return f([](V x, V) HWY_ATTR { return exp_of(Floats(), x); });
    case RunOp::logarithm:
      return f([](V x, V) HWY_ATTR { return lane_by_lane(x, [](float v) { return std::log(v); }); });
    case RunOp::absolute:
      return f([](V x, V) HWY_ATTR { return hn::Abs(x); });
    case RunOp::clamp:
      return f([=](V x, V) HWY_ATTR {
        return hn::IfThenElse(hn::Lt(x, p), p, hn::IfThenElse(hn::Gt(x, r), r, x));  // NaN stays
      });
  }
}

// A vector of elements `step` apart: neighbours, one value for all, or gathered.
template <typename T, class Size>
HWY_INLINE V load_apart(const T* from, int64_t i, int64_t step, Size part) {
  if (step == 1) return load(from + i, part);
  if (step == 0) return hn::Set(Floats(), static_cast<float>(*from));
  T room[float_lanes] = {};
  int64_t count = float_lanes;
  if constexpr (std::is_same_v<Size, Part>) count = part.count;
  for (int64_t k = 0; k < count; ++k) room[k] = from[(i + k) * step];
  return load(room, Whole());
}

template <typename T, class F>
HWY_INLINE void run_as(const RunJob& job, const Run& run, const F& f) {
  const T* x = job.x.data<T>() + run.x;
  const T* y = job.y.data<T>() + run.y;
  T* out = job.out.fill_data<T>() + run.out;
  if (run.x_step == 1 && run.y_step == 1) {
    for_vectors(run.count,
                [&](int64_t i, auto part) HWY_ATTR { store(f(load(x + i, part), load(y + i, part)), out + i, part); });
  } else {
    for_vectors(run.count, [&](int64_t i, auto part) HWY_ATTR {
      store(f(load_apart(x, i, run.x_step, part), load_apart(y, i, run.y_step, part)), out + i, part);
    });
  }
}

void operate(const RunJob& job, const Run& run) {
  with_float_type(job.out.dtype(), "elementwise", [&]<typename T>() HWY_ATTR {
    with_operation(job, [&](auto f) HWY_ATTR { run_as<T>(job, run, f); });
  });
}

HWY_INLINE V load(const Float16* p, Whole) {
  const hn::Rebind<hwy::float16_t, Floats> d16;
  return hn::PromoteTo(Floats(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}
HWY_INLINE void store(V v, Float16* p, Whole) {
  const hn::Rebind<hwy::float16_t, Floats> d16;
  hn::StoreU(hn::DemoteTo(d16, v), d16, reinterpret_cast<hwy::float16_t*>(p));
}

template <typename From, typename To>
void convert(const From* from, To* to, int64_t n) {
  // Highway's conversion of halves is exact only where the processor has one; it is also what makes it fast.
  constexpr bool halves = std::is_same_v<From, Float16> || std::is_same_v<To, Float16>;
  if constexpr (halves && HWY_TARGET != HWY_AVX2 && HWY_TARGET > HWY_AVX3) {
    for (int64_t i = 0; i < n; ++i) to[i] = To(static_cast<float>(from[i]));
  } else {
    int64_t i = 0;
    for (; i + float_lanes <= n; i += float_lanes) store(load(from + i, Whole()), to + i, Whole());
    for (; i < n; ++i) to[i] = To(static_cast<float>(from[i]));
  }
}

template <typename From>
void convert_to(const From* from, Tensor& to, int64_t begin, int64_t n) {
  switch (to.dtype()) {
    case DType::f32:
      return convert(from, to.fill_data<float>() + begin, n);
    case DType::bf16:
      return convert(from, to.fill_data<BFloat16>() + begin, n);
    case DType::f16:
      return convert(from, to.fill_data<Float16>() + begin, n);
    case DType::i64:
      return;
  }
}

void convert_piece(const Tensor& from, Tensor& to, int64_t begin, int64_t end) {
  switch (from.dtype()) {
    case DType::f32:
      return convert_to(from.data<float>() + begin, to, begin, end - begin);
    case DType::bf16:
      return convert_to(from.data<BFloat16>() + begin, to, begin, end - begin);
    case DType::f16:
      return convert_to(from.data<Float16>() + begin, to, begin, end - begin);
    case DType::i64:
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(operate);
HWY_EXPORT(convert_piece);

// Nothing may throw once the threads are out, so dtypes are looked at before.
void run_over(const RunJob& job) {
  with_float_type(job.out.dtype(), "elementwise", []<typename T>() {});
  const auto run = HWY_DYNAMIC_DISPATCH(operate);
  StridedWalk<3>({&job.out, &job.x, &job.y}).run([&](const auto& at, int64_t n, const auto& step) {
    run(job, {n, at[1], at[2], at[0], step[1], step[2], step[0]});
  });
}

RunOp run_op(BinaryOp op) {
  constexpr RunOp ops[] = {RunOp::add, RunOp::subtract, RunOp::multiply, RunOp::divide, RunOp::maximum};
  return ops[static_cast<int>(op)];
}

RunOp run_op(UnaryOp op) {
  constexpr RunOp ops[] = {RunOp::affine,    RunOp::square,   RunOp::square_root, RunOp::exponential,
                           RunOp::logarithm, RunOp::absolute, RunOp::clamp};
  return ops[static_cast<int>(op)];
}

template <typename Word>
void copy_words(const Tensor& from, Tensor& to) {
  const auto* source = reinterpret_cast<const Word*>(from.bytes());
  auto* target = reinterpret_cast<Word*>(to.fill_bytes());
  StridedWalk<2>({&to, &from}).run([&](const auto& at, int64_t n, const auto& step) {
    if (step[0] == 1 && step[1] == 1) {
      std::memcpy(target + at[0], source + at[1], static_cast<size_t>(n) * sizeof(Word));
    } else {
      for (int64_t i = 0; i < n; ++i) target[at[0] + i * step[0]] = source[at[1] + i * step[1]];
    }
  });
}
}  // namespace

void binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& out) {
  run_over({run_op(op), a, b, out});
}

void unary(UnaryOp op, const Tensor& x, float p, float r, Tensor& out) {
  run_over({run_op(op), x, x, out, p, r});
}

void weighted_sum(float a, const Tensor& x, float b, const Tensor& y, Tensor& out) {
  run_over({RunOp::weighted_sum, x, y, out, a, b});
}

void copy(const Tensor& from, Tensor& to) {
  switch (size_of(from.dtype())) {
    case 2:
      return copy_words<uint16_t>(from, to);
    case 4:
      return copy_words<uint32_t>(from, to);
    default:
      return copy_words<uint64_t>(from, to);
  }
}

void cast(const Tensor& from, Tensor& to) {
  if (from.dtype() == DType::i64) {
    const std::vector<int64_t> ids = from.to_ids();
    const std::vector<float> values(ids.begin(), ids.end());
    return cast(Tensor::from(std::span<const float>(values), from.shape()), to);
  }
  if (to.dtype() == DType::i64) fail(ErrorCode::internal, "to", "a float dtype", "i64");
  const auto run = HWY_DYNAMIC_DISPATCH(convert_piece);
  for_pieces(from.count(), 1, [&](int64_t begin, int64_t end) { run(from, to, begin, end); });
}

}  // namespace heddle::cpu
#endif
