// Convolutions and products at the sizes of Stable Diffusion 1.5 (batch 2, 64x64 latents) and of its VAE decoder, in
// multiply-add operations of the direct method per second. bench/kernels_conv.py times torch and OpenVINO on the same list.
#include <benchmark/benchmark.h>

#include <random>

#include "kernels/core/tape.h"
#include "kernels/ops/conv2d.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

Tensor noise(const Shape& shape, DType dtype, float size = 1) {
  std::minstd_rand bits(7);
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (float& v : values) v = size * (static_cast<float>(bits() % 2048) / 1024.0f - 1);
  return to(Tensor::from(std::span<const float>(values), shape), dtype);
}

DType dtype_of(const benchmark::State& state) { return state.range(0) == 0 ? DType::f32 : DType::bf16; }

void count(benchmark::State& state, double operations) {
  state.counters["GFLOP/s"] = benchmark::Counter(operations / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

// Arguments: dtype, pictures, side, in, out, kernel, stride.
void conv(benchmark::State& state) {
  const int64_t n = state.range(1), side = state.range(2), in = state.range(3), out = state.range(4), k = state.range(5);
  const ConvGeometry geometry{state.range(6), Padding::same(k / 2)};
  const Tensor x = noise({n, side, side, in}, dtype_of(state));
  const ConvWeight weight(noise({out, in, k, k}, dtype_of(state), 0.01f), noise({out}, DType::f32), geometry, dtype_of(state));
  Tensor y = conv2d(x, weight);
  y = conv2d(x, weight);  // two results live at a time; both have their memory now
  for (auto _ : state) benchmark::DoNotOptimize(y = conv2d(x, weight));
  count(state, 2.0 * static_cast<double>(y.count() * in * k * k));
}

// Arguments: dtype, rows, in, out, residual.
void product(benchmark::State& state) {
  const int64_t rows = state.range(1), in = state.range(2), out = state.range(3);
  const Tensor x = noise({rows, in}, dtype_of(state)), residual = state.range(4) ? noise({rows, out}, dtype_of(state)) : Tensor();
  const LinearWeight weight(noise({out, in}, dtype_of(state), 0.01f), noise({out}, DType::f32), dtype_of(state));
  Tensor y = linear(x, weight, residual);
  y = linear(x, weight, residual);
  for (auto _ : state) benchmark::DoNotOptimize(y = linear(x, weight, residual));
  count(state, 2.0 * static_cast<double>(y.count() * in));
}

// The backward pass alone: arguments dtype, pictures, side, in, out.
void conv_vjp(benchmark::State& state) {
  const int64_t n = state.range(1), side = state.range(2), in = state.range(3), out = state.range(4);
  const ConvWeight weight(noise({out, in, 3, 3}, dtype_of(state), 0.01f), {}, {1, Padding::same(1)}, dtype_of(state));
  Tape tape;
  const Tensor x = tape.watch(noise({n, side, side, in}, dtype_of(state))), y = conv2d(x, weight);
  for (auto _ : state) benchmark::DoNotOptimize(tape.gradient(y, x, y, Tape::Graph::keep));
  count(state, 2.0 * static_cast<double>(y.count() * in * 9));
}

// Arguments: dtype, rows, in, out.
void product_vjp(benchmark::State& state) {
  const int64_t rows = state.range(1), in = state.range(2), out = state.range(3);
  const LinearWeight weight(noise({out, in}, dtype_of(state), 0.01f), {}, dtype_of(state));
  Tape tape;
  const Tensor x = tape.watch(noise({rows, in}, dtype_of(state))), y = linear(x, weight);
  for (auto _ : state) benchmark::DoNotOptimize(tape.gradient(y, x, y, Tape::Graph::keep));
  count(state, 2.0 * static_cast<double>(y.count() * in));
}

void convolutions(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "n", "side", "in", "out", "k", "stride"})->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(0.2);
  for (const int64_t dtype : {0, 1}) {
    for (const auto& [side, in, out] : std::vector<std::array<int64_t, 3>>{
             {64, 4, 320}, {64, 320, 320}, {64, 640, 320}, {64, 960, 320}, {64, 640, 640}, {64, 320, 4},
             {32, 320, 640}, {32, 640, 640}, {32, 960, 640}, {32, 1280, 640}, {32, 1920, 640}, {32, 1280, 1280},
             {16, 640, 1280}, {16, 1280, 1280}, {16, 1920, 1280}, {16, 2560, 1280}, {8, 1280, 1280}, {8, 2560, 1280}}) {
      b->Args({dtype, 2, side, in, out, 3, 1});
    }
    for (const auto& [side, c] : std::vector<std::array<int64_t, 2>>{{64, 320}, {32, 640}, {16, 1280}}) b->Args({dtype, 2, side, c, c, 3, 2});
    for (const auto& [side, in, out] : std::vector<std::array<int64_t, 3>>{
             {64, 512, 512}, {128, 512, 512}, {256, 512, 256}, {256, 256, 256}, {512, 256, 128}, {512, 128, 128}, {512, 128, 3}}) {
      b->Args({dtype, 1, side, in, out, 3, 1});
    }
  }
}
BENCHMARK(conv)->Apply(convolutions);

void products(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "rows", "in", "out", "residual"})->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(0.2);
  for (const int64_t dtype : {0, 1}) {
    for (const auto& [rows, in, out] : std::vector<std::array<int64_t, 3>>{
             {8192, 320, 320}, {8192, 320, 960}, {8192, 320, 2560}, {8192, 1280, 320}, {2048, 640, 640}, {2048, 640, 1920},
             {2048, 640, 5120}, {2048, 2560, 640}, {512, 1280, 1280}, {512, 1280, 3840}, {512, 1280, 10240}, {512, 5120, 1280},
             {128, 1280, 1280}, {128, 1280, 10240}, {154, 768, 1280}, {154, 768, 640}, {2, 1280, 1280}, {4096, 4096, 4096}}) {
      b->Args({dtype, rows, in, out, 0});
    }
    b->Args({dtype, 8192, 320, 320, 1});
    b->Args({dtype, 2048, 640, 640, 1});
    b->Args({dtype, 512, 5120, 1280, 1});
  }
}
BENCHMARK(product)->Apply(products);

// Sizes of the gradient of the denoiser at 32x32 latents.
void conv_gradients(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "n", "side", "in", "out"})->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(0.2);
  for (const auto& [side, in, out] : std::vector<std::array<int64_t, 3>>{
           {32, 320, 320}, {32, 960, 320}, {16, 640, 640}, {8, 1280, 1280}, {8, 2560, 1280}, {4, 1280, 1280}}) {
    b->Args({0, 1, side, in, out});
  }
}
BENCHMARK(conv_vjp)->Apply(conv_gradients);

void product_gradients(benchmark::internal::Benchmark* b) {
  b->ArgNames({"bf16", "rows", "in", "out"})->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(0.2);
  for (const auto& [rows, in, out] : std::vector<std::array<int64_t, 3>>{
           {1024, 320, 320}, {1024, 320, 2560}, {256, 640, 5120}, {256, 2560, 640}, {64, 1280, 10240}, {64, 1280, 1280}, {16, 1280, 1280}}) {
    b->Args({0, rows, in, out});
  }
}
BENCHMARK(product_vjp)->Apply(product_gradients);

}  // namespace
}  // namespace heddle
