// Merging partial softmaxes over disjoint keys (Milakov & Gimelshein 2018): out = sum_p w_p out_p, w_p = e^(lse_p -
// lse). Backward: d out_p = w_p dO, d lse_p = w_p (<dO, out_p - out> + dLSE). One pass each, f32 between load and
// store.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/merge_attention.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <cmath>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/parallel.h"

#ifndef HEDDLE_MERGE_JOB
#define HEDDLE_MERGE_JOB
namespace heddle::cpu {
namespace {

// Results and cotangents, all [B,Nq,H,D] and [B,H,Nq]. `cotangents` null: forward.
struct MergeJob {
  std::span<const AttentionOutputs> parts;
  AttentionOutputs made;
  float* shares;  // w_p, [row][part]
  const AttentionOutputs* cotangents = nullptr;
  std::span<AttentionOutputs> back;

  int64_t queries() const { return made.out.dim(1); }
  int64_t heads() const { return made.out.dim(2); }
  int64_t dim() const { return made.out.dim(3); }
  int64_t lse_at(int64_t token, int64_t h) const {  // token counts (b, i)
    return (token / queries() * heads() + h) * queries() + token % queries();
  }
};

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;

float total_lse(std::span<const AttentionOutputs> parts, int64_t at) {
  float top = -std::numeric_limits<float>::infinity();
  for (const AttentionOutputs& part : parts) {
    const float own = part.lse.data<float>()[at];
    if (!(own <= top)) top = own;  // NaN as well
  }
  if (std::isinf(top)) return top;
  float sum = 0;
  for (const AttentionOutputs& part : parts) sum += std::exp(part.lse.data<float>()[at] - top);
  return top + std::log(sum);
}

// 0 for a part, or a row, without keys.
const float* shares_of(const MergeJob& job, int64_t at, float lse) {
  float* shares = job.shares + at * static_cast<int64_t>(job.parts.size());
  for (size_t p = 0; p < job.parts.size(); ++p) {
    const float own = job.parts[p].lse.data<float>()[at];
    shares[p] = std::isinf(own) ? 0.0f : std::exp(own - lse);
  }
  return shares;
}

template <typename T>
void merge_row(MergeJob& job, int64_t token, int64_t h) {
  const int64_t at = job.lse_at(token, h), row = (token * job.heads() + h) * job.dim();
  const float lse = total_lse(job.parts, at);
  job.made.lse.fill_data<float>()[at] = lse;
  T* out = job.made.out.fill_data<T>() + row;
  const float* shares = shares_of(job, at, lse);
  for_vectors(job.dim(), [&](int64_t c, auto part) HWY_ATTR {
    FloatsVec sum = hn::Zero(Floats());
    for (size_t p = 0; p < job.parts.size(); ++p) {
      sum = hn::MulAdd(hn::Set(Floats(), shares[p]), load(job.parts[p].out.data<T>() + row + c, part), sum);
    }
    store(sum, out + c, part);
  });
}

template <typename T>
void merge_row_back(MergeJob& job, int64_t token, int64_t h) {
  const Floats d;
  const int64_t at = job.lse_at(token, h), row = (token * job.heads() + h) * job.dim();
  const float lse = job.made.lse.data<float>()[at];
  const float d_lse = job.cotangents->lse.defined() ? job.cotangents->lse.data<float>()[at] : 0.0f;
  const T *d_out = job.cotangents->out.data<T>() + row, *out = job.made.out.data<T>() + row;
  const float* shares = shares_of(job, at, lse);
  for (size_t p = 0; p < job.parts.size(); ++p) {
    const float share = shares[p];
    const T* own = job.parts[p].out.data<T>() + row;
    T* to = job.back[p].out.fill_data<T>() + row;
    FloatsVec along = hn::Zero(d);
    for_vectors(job.dim(), [&](int64_t c, auto part) HWY_ATTR {
      const FloatsVec g = load(d_out + c, part);
      along = hn::MulAdd(g, hn::Sub(load(own + c, part), load(out + c, part)), along);
      store(hn::Mul(hn::Set(d, share), g), to + c, part);
    });
    const float sum = hn::GetLane(hn::SumOfLanes(d, along));
    job.back[p].lse.fill_data<float>()[at] = share == 0 ? 0.0f : share * (sum + d_lse);
  }
}

void merge_tokens(MergeJob& job, int64_t begin, int64_t end) {
  with_float_type(job.made.out.dtype(), "merge_attention", [&]<typename T>() {
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t h = 0; h < job.heads(); ++h) {
        if (job.cotangents)
          merge_row_back<T>(job, token, h);
        else
          merge_row<T>(job, token, h);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(merge_tokens);

void run(MergeJob& job) {
  Tensor shares = Tensor::empty({job.made.lse.count(), static_cast<int64_t>(job.parts.size())});
  job.shares = shares.fill_data<float>();
  const auto merge = HWY_DYNAMIC_DISPATCH(merge_tokens);
  for_pieces(job.made.out.dim(0) * job.queries(), job.heads() * job.dim() * static_cast<int64_t>(job.parts.size()),
             [&](int64_t begin, int64_t end) { merge(job, begin, end); });
}
}  // namespace

AttentionOutputs merge_attention(std::span<const AttentionOutputs> parts) {
  MergeJob job{
      parts, {Tensor::empty(parts[0].out.shape(), parts[0].out.dtype()), Tensor::empty(parts[0].lse.shape())}, nullptr};
  run(job);
  return job.made;
}

std::vector<AttentionOutputs> merge_attention_backward(std::span<const AttentionOutputs> parts,
                                                       const AttentionOutputs& made,
                                                       const AttentionOutputs& cotangents) {
  std::vector<AttentionOutputs> back;
  for (const AttentionOutputs& part : parts)
    back.push_back({Tensor::empty(part.out.shape(), part.out.dtype()), Tensor::empty(part.lse.shape())});
  MergeJob job{parts, made, nullptr, &cotangents, back};
  run(job);
  return back;
}

}  // namespace heddle::cpu
#endif
