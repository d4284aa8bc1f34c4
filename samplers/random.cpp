// torch's two generators of normals; see random.h for what is reproduced.
#include "samplers/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t block_size = 16;

// Cephes' logf (Moshier), each product that feeds a sum fused with it, as in torch's AVX2 code. x in (0, 1].
float log_fused(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  float exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126);
  x = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);  // [0.5, 1)
  if (x < 0.707106781186547524f) {
    exponent -= 1;
    x = (x - 1) + x;
  } else {
    x -= 1;
  }
  const float z = x * x;
  constexpr float coefficients[] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                                    -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  float y = 7.0376836292e-2f;
  for (float c : coefficients) y = std::fma(y, x, c);
  y = std::fma(y * x, z, exponent * -2.12194440e-4f);
  y = std::fma(-0.5f, z, y);
  return std::fma(exponent, 0.693359375f, x + y);
}

struct SineCosine {
  float sine, cosine;
};

// Cephes' sinf and cosf, fused likewise. x in [0, 2 pi].
SineCosine sine_cosine_fused(float x) {
  const int32_t octant = (static_cast<int32_t>(x * 1.27323954473516f) + 1) & ~1;
  const float y = static_cast<float>(octant);
  x = std::fma(y, -0.78515625f, x);
  x = std::fma(y, -2.4187564849853515625e-4f, x);
  x = std::fma(y, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float even = std::fma(2.443315711809948e-5f, z, -1.388731625493765e-3f);
  even = std::fma(even, z, 4.166664568298827e-2f) * z;
  even = std::fma(even, z, -(z * 0.5f)) + 1;
  float odd = std::fma(-1.9515295891e-4f, z, 8.3321608736e-3f);
  odd = std::fma(odd, z, -1.6666654611e-1f) * z;
  odd = std::fma(odd, x, x);
  const bool straight = (octant & 2) == 0;
  const float sine = straight ? odd : even;
  const float cosine = straight ? even : odd;
  return {(octant & 4) != 0 ? -sine : sine, ((octant - 2) & 4) == 0 ? -cosine : cosine};
}

}  // namespace

std::unique_ptr<Generator> make_generator(std::string_view rng, uint64_t seed) {
  if (rng == "torch-cpu") return std::make_unique<TorchCpuGenerator>(seed);
  if (rng == "torch-cuda") return std::make_unique<TorchCudaGenerator>(seed);
  fail(ErrorCode::usage, "rng", "torch-cpu or torch-cuda", rng);
}

float TorchCpuGenerator::uniform() {
  return static_cast<float>(engine_() & 0xffffffu) * 0x1p-24f;
}

double TorchCpuGenerator::uniform_double() {
  const uint64_t high = engine_();
  const uint64_t bits = (high << 32) | engine_();
  return static_cast<double>(bits & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

double TorchCpuGenerator::next_small() {
  if (kept_) return *std::exchange(kept_, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double radius = std::sqrt(-2 * std::log1p(-u2));
  const double theta = 2 * std::numbers::pi * u1;
  kept_ = radius * std::sin(theta);
  return radius * std::cos(theta);
}

void TorchCpuGenerator::fill_block(float* block) {
  for (int64_t i = 0; i < block_size; ++i) block[i] = uniform();
  for (int64_t i = 0; i < block_size / 2; ++i) {
    const float radius = std::sqrt(-2 * log_fused(1 - block[i]));
    const SineCosine turn = sine_cosine_fused(static_cast<float>(2 * std::numbers::pi) * block[i + 8]);
    block[i] = radius * turn.cosine;
    block[i + 8] = radius * turn.sine;
  }
}

Tensor TorchCpuGenerator::randn(const Shape& shape, DType dtype) {
  const int64_t count = shape.count();
  Tensor out = Tensor::empty(shape);  // before the draw, so that a budget that is too small costs no work
  std::span<float> values(out.fill_data<float>(), static_cast<size_t>(count));
  if (count < block_size) {
    for (float& value : values) value = static_cast<float>(next_small());
    return to(out, dtype);
  }
  for (int64_t i = 0; i + block_size <= count; i += block_size) fill_block(&values[static_cast<size_t>(i)]);
  if (const int64_t rest = count % block_size; rest != 0) {
    // torch fills the rest with uniforms (in f32 only) and then draws the last 16 elements anew.
    if (dtype == DType::f32) engine_.discard(static_cast<uint64_t>(rest));
    fill_block(&values[static_cast<size_t>(count - block_size)]);
  }
  return to(out, dtype);
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

Tensor TorchCudaGenerator::randn(const Shape& shape, DType dtype) {
  // One thread per element in blocks of 256, at most threads_ of them; thread n uses subsequence n, and its quadruple k
  // serves elements n + (4 k + 0..3) * threads.
  constexpr int64_t block = 256;
  const int64_t count = shape.count();
  const int64_t wanted = (count + block - 1) / block * block;
  const int64_t threads = threads_ > 0 ? std::min(wanted, std::max(threads_ / block * block, block)) : wanted;
  Tensor out = Tensor::empty(shape);
  float* values = out.fill_data<float>();
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)};
  for (int64_t n = 0; n < std::min(threads, count); ++n) {
    uint64_t call = calls_;
    for (int64_t base = n; base < count; base += 4 * threads, ++call) {
      const auto bits = philox({static_cast<uint32_t>(call), static_cast<uint32_t>(call >> 32),
                                static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32)},
                               key);
      for (int64_t pair = 0; pair < 2; ++pair) {
        constexpr float turn = 0x1p-32f * static_cast<float>(2 * std::numbers::pi);
        const float u = static_cast<float>(bits[2 * pair]) * 0x1p-32f + 0x1p-33f;
        const float theta = static_cast<float>(bits[2 * pair + 1]) * turn + turn / 2;
        const float radius = std::sqrt(-2 * std::log(u));
        const int64_t first = base + 2 * pair * threads;
        if (first < count) values[first] = radius * std::sin(theta);
        if (first + threads < count) values[first + threads] = radius * std::cos(theta);
      }
    }
  }
  if (count > 0) calls_ += static_cast<uint64_t>((count - 1) / (4 * threads) + 1);
  return to(out, dtype);
}

}  // namespace heddle
