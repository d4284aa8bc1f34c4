// Random normals that equal torch's for a seed, so that a picture made elsewhere can be made again.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string_view>

#include "kernels/core/tensor.h"

namespace heddle {

class Generator {
 public:
  virtual ~Generator() = default;
  // Independent standard normals, row-major; consecutive calls continue the stream. dtype f32, bf16 or f16.
  virtual Tensor randn(const Shape& shape, DType dtype = DType::f32) = 0;
};

// "torch-cpu" or "torch-cuda"; Error(usage) for other names.
std::unique_ptr<Generator> make_generator(std::string_view rng, uint64_t seed);

// torch.randn with torch.Generator("cpu").manual_seed(seed), bit for bit: Mersenne twister (Matsumoto & Nishimura
// 1998), of whose seed only the lower 32 bits count; below 16 elements Box-Muller in double, one of each pair kept for
// the next call; from 16 on Box-Muller in f32 on blocks of 16, with the logarithm, sine and cosine of torch's AVX2
// code.
class TorchCpuGenerator final : public Generator {
 public:
  explicit TorchCpuGenerator(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}
  Tensor randn(const Shape& shape, DType dtype) override;

 private:
  float uniform();          // 24 bits, [0, 1)
  double uniform_double();  // 53 bits, [0, 1)
  double next_small();
  void fill_block(float* block);  // 16 elements

  std::mt19937 engine_;
  std::optional<double> kept_;
};

// Philox4x32-10 (Salmon et al. 2011): the block cipher behind torch-cuda.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// torch.randn(device="cuda") with torch.cuda.manual_seed(seed). The stream of integers is exact. The normals differ by
// up to about 1e-6 from a device's, whose sine and cosine are approximations. `threads` is how many threads the device
// runs at once (multiprocessors x resident threads): a tensor with more elements is laid out in strides of it. 0: no
// limit, which equals every device for tensors of at most its `threads` elements (40960 on the smallest T4, 270336 on
// an H100).
class TorchCudaGenerator final : public Generator {
 public:
  explicit TorchCudaGenerator(uint64_t seed, int64_t threads = 0) : seed_(seed), threads_(threads) {}
  Tensor randn(const Shape& shape, DType dtype) override;

 private:
  uint64_t seed_;
  int64_t threads_;
  uint64_t calls_ = 0;  // quadruples that each thread has drawn
};

}  // namespace heddle
