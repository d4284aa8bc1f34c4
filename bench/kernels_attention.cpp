// Attention, norms, activations and elementwise ops at the sizes of Stable Diffusion 1.5, XL and a video transformer.
// bench/kernels_attention.py times torch on the same list.
#include <benchmark/benchmark.h>

#include <limits>
#include <random>

#include "kernels/core/tape.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/attention_columns.h"
#include "kernels/ops/attention_merge.h"
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

// Four labels scattered over the tokens and what a query of one adds to the score of a key of another: a bias, or -inf
// between different labels but the first. Scattered, so that no tile of keys can be left out.
AttentionOptions labelled(int64_t queries, int64_t keys, bool mask) {
  const auto label = [](int64_t token) { return token * 7 / 5 % 4; };
  std::vector<int64_t> classes;
  for (int64_t j = 0; j < keys; ++j) classes.push_back(label(j));
  std::vector<float> rows;
  for (int64_t c = 0; c < 4; ++c) {
    for (int64_t i = 0; i < queries; ++i) {
      const bool hidden = mask && c != 0 && label(i) != c;
      rows.push_back(hidden ? -std::numeric_limits<float>::infinity()
                     : mask ? 0.0f
                            : 0.1f * static_cast<float>(c - label(i)));
    }
  }
  AttentionOptions options;
  options.terms = {{Tensor::from(std::span<const int64_t>(classes), {1, keys}),
                    Tensor::from(std::span<const float>(rows), {1, 1, 4, queries})}};
  return options;
}

struct Problem {
  Tensor q, k;
  double products;  // operations of one
  explicit Problem(const benchmark::State& state)
      : q(noise({1, state.range(1), state.range(3), state.range(4)}, dtype_of(state))),
        k(noise({1, state.range(2), state.range(3), state.range(4)}, dtype_of(state))),
        products(2.0 * static_cast<double>(q.count() * state.range(2))) {}
};

void time_forward(benchmark::State& state, const AttentionOptions& options) {
  const Problem p(state);
  for (auto _ : state) benchmark::DoNotOptimize(attention(p.q, p.k, p.k, options).out);
  rate(state, "GFLOP/s", 2 * p.products);
}

// With `columns`, the gradient comes back through four live columns, too.
void time_gradient(benchmark::State& state, const AttentionOptions& options, bool columns) {
  const Problem p(state);
  const Columns four{{1, 30, 50, state.range(2) - 1}};
  const Tensor d_columns = noise({1, state.range(1), 4}, DType::f32);
  for (auto _ : state) {
    Tape tape;
    const std::vector<Tensor> x{tape.watch(p.q), tape.watch(p.k), tape.watch(p.k)};
    const AttentionResult r = attention(x[0], x[1], x[2], options);
    std::vector<Tensor> y{r.out}, c{p.q};
    if (columns) {
      y.push_back(attention_columns(x[0], x[1], r.lse, four, options));
      c.push_back(d_columns);
    }
    benchmark::DoNotOptimize(tape.gradients(y, c, x));
  }
  rate(state, "GFLOP/s", 7 * p.products);
}

// Arguments: dtype, queries, keys, heads, dim. Rate in operations of the two (seven with the gradient) products.
void attend(benchmark::State& state) {
  time_forward(state, {});
}
void attend_with_gradient(benchmark::State& state) {
  time_gradient(state, {}, false);
}
void attend_masked(benchmark::State& state) {
  time_forward(state, labelled(state.range(1), state.range(2), true));
}
void attend_biased(benchmark::State& state) {
  time_forward(state, labelled(state.range(1), state.range(2), false));
}
void attend_masked_with_gradient(benchmark::State& state) {
  time_gradient(state, labelled(state.range(1), state.range(2), true), false);
}
void attend_with_columns(benchmark::State& state) {
  time_gradient(state, {}, true);
}

void attention_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "queries", "keys", "heads", "dim"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t dtype : {0, 1}) {
    b->Args({dtype, 4096, 4096, 8, 40})->Args({dtype, 1024, 1024, 20, 64})->Args({dtype, 17776, 17776, 4, 64});
    b->Args({dtype, 4096, 77, 8, 40})->Args({dtype, 4096, 4096, 1, 512})->Args({dtype, 1024, 1024, 8, 80});
    b->Args({dtype, 4096, 4096, 8, 64})->Args({dtype, 16384, 16384, 8, 40})->Args({dtype, 16384, 16384, 8, 64});
  }
}
void labelled_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "queries", "keys", "heads", "dim"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t dtype : {0, 1}) {
    for (const int64_t dim : {40, 64}) b->Args({dtype, 4096, 4096, 8, dim})->Args({dtype, 16384, 16384, 8, dim});
  }
}
BENCHMARK(attend)->Apply(attention_sizes);
BENCHMARK(attend_with_gradient)->Apply(attention_sizes);
BENCHMARK(attend_masked)->Apply(labelled_sizes);
BENCHMARK(attend_biased)->Apply(labelled_sizes);
BENCHMARK(attend_masked_with_gradient)->Apply(labelled_sizes);
BENCHMARK(attend_with_columns)->Apply(attention_sizes);

// Two halves of the keys into one. Arguments: dtype, queries, heads, dim.
void merge(benchmark::State& state) {
  const Tensor out = noise({1, state.range(1), state.range(2), state.range(3)}, dtype_of(state));
  const Tensor lse = noise({1, state.range(2), state.range(1)}, DType::f32);
  const std::vector<AttentionResult> parts{{out, lse}, {out, lse}};
  for (auto _ : state) benchmark::DoNotOptimize(merge_attention(parts).out);
  rate(state, "GB/s", 3.0 * static_cast<double>(out.count() * size_of(out.dtype())));
}
BENCHMARK(merge)->Unit(benchmark::kMicrosecond)->UseRealTime()->Args({0, 4096, 8, 40})->Args({1, 4096, 8, 40});

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
