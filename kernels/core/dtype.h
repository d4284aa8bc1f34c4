// Element types. f32 and bf16 are computed in; f16 is a storage type of weights; i64 holds token ids and indices.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace heddle {

enum class DType : uint8_t { f32, bf16, f16, i64 };

constexpr int64_t size_of(DType dtype) {
  return dtype == DType::f32 ? 4 : dtype == DType::i64 ? 8 : 2;
}
std::string_view name_of(DType dtype);

// Brain float: the upper half of an f32. Conversion rounds to nearest even, NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE half precision, in integers: not every compiler has the type. Rounds to nearest even, NaN stays NaN.
struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value), size = u & 0x7fffffffu, exponent = size >> 23;
    // m / 2^shift to the nearest, ties to even.
    const auto rounded = [](uint32_t m, uint32_t shift) {
      return (m + (1u << (shift - 1)) - 1 + ((m >> shift) & 1)) >> shift;
    };
    uint32_t half = 0x7c00;  // infinite from 65536 on; rounding carries what is nearer to that than to 65504
    if (size > 0x7f800000u) {
      half = 0x7e00 | ((size >> 13) & 0x3ff);
    } else if (exponent < 113) {  // below 2^-14: steps of 2^-24
      half = rounded((size & 0x7fffff) | 0x800000, exponent > 95 ? 126 - exponent : 31);
    } else if (exponent < 143) {
      half = rounded(size - (112u << 23), 13);
    }
    bits = static_cast<uint16_t>(((u >> 16) & 0x8000) | half);
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, m = bits & 0x3ff;
    const uint32_t size = exponent == 0    ? std::bit_cast<uint32_t>(static_cast<float>(m) * 0x1p-24f)
                          : exponent == 31 ? 0x7f800000 | (m << 13)
                                           : (exponent + 112) << 23 | (m << 13);
    return std::bit_cast<float>(sign | size);
  }
};

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};

}  // namespace heddle
