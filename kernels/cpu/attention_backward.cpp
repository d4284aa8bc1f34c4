// Attention row by row: the scores of one query at a time, forward; recomputed from the log-sum-exp, backward.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/float_type.h"

namespace heddle::cpu {
namespace {

template <typename T>
struct Head {  // one head of one batch row of a [B,N,H,D] tensor
  const T* data;
  int64_t stride;
  const T* row(int64_t i) const { return data + i * stride; }
};

template <typename T>
Head<T> head_of(const Tensor& x, int64_t b, int64_t h) {
  return {x.data<T>() + b * x.stride(0) + h * x.stride(2), x.stride(1)};
}

template <typename A, typename B>
float dot(const A* a, const B* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<float>(a[i]) * static_cast<float>(b[i]);
  return sum;
}

int64_t visible_keys(const AttentionInputs& in, int64_t query) {
  const int64_t nk = in.k.dim(1);
  return in.causal ? std::clamp<int64_t>(query + 1 + nk - in.q.dim(1), 0, nk) : nk;
}

struct HeadGradients {
  std::vector<float> q, k, v;  // [N,D] of one head
};

template <typename T>
void backward_row(const AttentionInputs& in, const AttentionOutputs& saved, const AttentionOutputs& cotangents,
                  int64_t b, int64_t h, int64_t i, HeadGradients& back) {
  const Head<T> q = head_of<T>(in.q, b, h), k = head_of<T>(in.k, b, h), v = head_of<T>(in.v, b, h);
  const T* d_out = head_of<T>(cotangents.out, b, h).row(i);
  const int64_t d = in.q.dim(3), dv = in.v.dim(3), place = (b * in.q.dim(2) + h) * in.q.dim(1) + i;
  const float lse = saved.lse.data<float>()[place];
  const float d_lse = cotangents.lse.defined() ? cotangents.lse.data<float>()[place] : 0.0f;
  const float shift = dot(d_out, head_of<T>(saved.out, b, h).row(i), dv) - d_lse;
  for (int64_t j = 0; j < visible_keys(in, i); ++j) {
    const float p = std::exp(in.scale * dot(q.row(i), k.row(j), d) - lse);
    const float ds = in.scale * p * (dot(d_out, v.row(j), dv) - shift);
    for (int64_t c = 0; c < dv; ++c) back.v[j * dv + c] += p * static_cast<float>(d_out[c]);
    for (int64_t c = 0; c < d; ++c) back.q[i * d + c] += ds * static_cast<float>(k.row(j)[c]);
    for (int64_t c = 0; c < d; ++c) back.k[j * d + c] += ds * static_cast<float>(q.row(i)[c]);
  }
}

template <typename T>
void store(const std::vector<float>& from, Tensor& to, int64_t b, int64_t h) {
  const int64_t d = to.dim(3);
  T* out = to.fill_data<T>() + b * to.stride(0) + h * to.stride(2);
  for (int64_t i = 0; i < to.dim(1); ++i) {
    for (int64_t c = 0; c < d; ++c) out[i * to.stride(1) + c] = T(from[i * d + c]);
  }
}

}  // namespace

AttentionGradients attention_backward(const AttentionInputs& in, const AttentionOutputs& saved,
                                      const AttentionOutputs& cotangents) {
  AttentionGradients back{Tensor::empty(in.q.shape(), in.q.dtype()), Tensor::empty(in.k.shape(), in.q.dtype()),
                          Tensor::empty(in.v.shape(), in.q.dtype())};
  const int64_t heads = in.q.dim(2), nq = in.q.dim(1), nk = in.k.dim(1);
  with_float_type(in.q.dtype(), "attention", [&]<typename T>() {
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < in.q.dim(0) * heads; ++n) {
      const int64_t b = n / heads, h = n % heads;
      HeadGradients sums{std::vector<float>(nq * in.q.dim(3)), std::vector<float>(nk * in.k.dim(3)),
                         std::vector<float>(nk * in.v.dim(3))};
      for (int64_t i = 0; i < nq; ++i) backward_row<T>(in, saved, cotangents, b, h, i, sums);
      store<T>(sums.q, back.q, b, h);
      store<T>(sums.k, back.k, b, h);
      store<T>(sums.v, back.v, b, h);
    }
  });
  return back;
}

}  // namespace heddle::cpu
