// Attention, norms, activations and elementwise ops at the sizes of Stable Diffusion 1.5, XL and a video transformer.
// bench/kernels_attention.py times torch on the same list.
#include <benchmark/benchmark.h>

#include <random>

#include "kernels/core/tape.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/softmax.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

Tensor noise(const Shape& shape, DType dtype) {
  std::minstd_rand bits(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (float& v : values) v = normal(bits);
  return to(Tensor::from(std::span<const float>(values), shape), dtype);
}

DType dtype_of(const benchmark::State& state) {
  return state.range(0) == 0 ? DType::f32 : DType::bf16;
}

void rate(benchmark::State& state, const char* unit, double amount) {
  state.counters[unit] = benchmark::Counter(amount / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

// Arguments: dtype, queries, keys, heads, dim. Rate in operations of the two (seven with the gradient) products.
void attend(benchmark::State& state) {
  const int64_t nq = state.range(1), nk = state.range(2), h = state.range(3), d = state.range(4);
  const Tensor q = noise({1, nq, h, d}, dtype_of(state)), k = noise({1, nk, h, d}, dtype_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(attention(q, k, k, {}).out);
  rate(state, "GFLOP/s", 4.0 * static_cast<double>(nq * nk * h * d));
}

void attend_with_gradient(benchmark::State& state) {
  const int64_t nq = state.range(1), nk = state.range(2), h = state.range(3), d = state.range(4);
  const Tensor q = noise({1, nq, h, d}, dtype_of(state)), k = noise({1, nk, h, d}, dtype_of(state));
  for (auto _ : state) {
    Tape tape;
    const std::vector<Tensor> x{tape.watch(q), tape.watch(k), tape.watch(k)};
    const std::vector<Tensor> y{attention(x[0], x[1], x[2], {}).out}, c{q};
    benchmark::DoNotOptimize(tape.gradients(y, c, x));
  }
  rate(state, "GFLOP/s", 14.0 * static_cast<double>(nq * nk * h * d));
}

void attention_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "queries", "keys", "heads", "dim"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t dtype : {0, 1}) {
    b->Args({dtype, 4096, 4096, 8, 40})->Args({dtype, 1024, 1024, 20, 64})->Args({dtype, 17776, 17776, 4, 64});
    b->Args({dtype, 4096, 77, 8, 40})->Args({dtype, 4096, 4096, 1, 512})->Args({dtype, 1024, 1024, 8, 80});
  }
}
BENCHMARK(attend)->Apply(attention_sizes);
BENCHMARK(attend_with_gradient)->Apply(attention_sizes);

// Arguments: dtype, rows, channels. Rate in bytes that must be read and written once.
template <typename F>
void stream(benchmark::State& state, const Shape& shape, double passes, F op) {
  const Tensor x = noise(shape, dtype_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(op(x));
  rate(state, "GB/s", passes * static_cast<double>(x.count() * size_of(x.dtype())));
}

void group_norm_silu(benchmark::State& state) {
  const int64_t c = state.range(2);
  const Tensor gamma = noise({c}, DType::f32), beta = noise({c}, DType::f32);
  stream(state, {2, state.range(1) / 2, c}, 2,
         [&](const Tensor& x) { return group_norm(x, gamma, beta, {.then = Activation::silu}); });
}
void layer_norm_rows(benchmark::State& state) {
  const int64_t c = state.range(2);
  const Tensor gamma = noise({c}, DType::f32), beta = noise({c}, DType::f32);
  stream(state, {state.range(1), c}, 2, [&](const Tensor& x) { return layer_norm(x, gamma, beta, 1e-5); });
}
void softmax_rows(benchmark::State& state) {
  stream(state, {state.range(1), state.range(2)}, 2, [](const Tensor& x) { return softmax(x); });
}
void silu(benchmark::State& state) {
  stream(state, {state.range(1), state.range(2)}, 2, [](const Tensor& x) { return activate(x, Activation::silu); });
}
void gelu(benchmark::State& state) {
  stream(state, {state.range(1), state.range(2)}, 2, [](const Tensor& x) { return activate(x, Activation::gelu); });
}
void gated_gelu(benchmark::State& state) {
  stream(state, {state.range(1), 8 * state.range(2)}, 1.5, [](const Tensor& x) { return geglu(x); });
}
void add_same(benchmark::State& state) {
  stream(state, {state.range(1), state.range(2)}, 2, [](const Tensor& x) { return add(x, x); });
}
void add_row(benchmark::State& state) {
  const Tensor row = noise({state.range(2)}, dtype_of(state));
  stream(state, {state.range(1), state.range(2)}, 2, [&](const Tensor& x) { return add(x, row); });
}

void stream_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "rows", "channels"})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.1);
  for (const int64_t dtype : {0, 1}) b->Args({dtype, 8192, 320})->Args({dtype, 2048, 1280});
}
BENCHMARK(group_norm_silu)->Apply(stream_sizes);
BENCHMARK(layer_norm_rows)->Apply(stream_sizes);
BENCHMARK(softmax_rows)->Apply(stream_sizes);
BENCHMARK(silu)->Apply(stream_sizes);
BENCHMARK(gelu)->Apply(stream_sizes);
BENCHMARK(gated_gelu)->Apply(stream_sizes);
BENCHMARK(add_same)->Apply(stream_sizes);
BENCHMARK(add_row)->Apply(stream_sizes);

}  // namespace
}  // namespace heddle
