// Halves in integers: every half, and every f32 at which rounding changes its answer.
#include "kernels/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace heddle {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

Float16 half(uint32_t bits) {
  Float16 h;
  h.bits = static_cast<uint16_t>(bits);
  return h;
}

// By the formula of IEEE 754, for finite halves.
double value_of(uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 0x3ff);
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -size : size;
}

TEST(Float16, EveryHalfIsItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float wide = static_cast<float>(half(bits));
    const bool special = (bits & 0x7c00) == 0x7c00, nan = special && (bits & 0x3ff) != 0;
    ASSERT_EQ(std::isnan(wide), nan) << bits;
    ASSERT_EQ(std::signbit(wide), bits >= 0x8000) << bits;
    const double size = special ? inf : std::abs(value_of(bits));
    ASSERT_TRUE(nan || std::abs(wide) == size) << bits;
    ASSERT_EQ(Float16(wide).bits, nan ? bits | 0x200 : bits);  // a NaN comes back quiet
  }
}

TEST(Float16, RoundsToNearestEvenBetweenAnyTwoNeighbours) {
  for (uint32_t low = 0; low < 0x7c00; ++low) {
    const double above = low + 1 == 0x7c00 ? 65536 : value_of(low + 1);
    const auto middle = static_cast<float>((value_of(low) + above) / 2);  // exact in f32
    for (const uint32_t sign : {0u, 0x8000u}) {
      const auto bits_of = [&](float v) { return Float16(sign ? -v : v).bits - sign; };
      ASSERT_EQ(bits_of(middle), (low + 1) / 2 * 2) << low;  // the even one
      ASSERT_EQ(bits_of(std::nextafter(middle, 0.0f)), low);
      ASSERT_EQ(bits_of(std::nextafter(middle, inf)), low + 1);
      ASSERT_EQ(bits_of(std::nextafter(static_cast<float>(value_of(low)), inf)), low);
      ASSERT_EQ(bits_of(std::nextafter(static_cast<float>(above), 0.0f)), low + 1);
    }
  }
}

TEST(Float16, EndsOfTheRange) {
  for (const float large : {65520.0f, 65536.0f, 131072.0f, 3.4e38f, inf}) {
    EXPECT_EQ(Float16(large).bits, 0x7c00) << large;
    EXPECT_EQ(Float16(-large).bits, 0xfc00) << large;
  }
  for (const float small : {0.0f, 1e-45f, 1.1e-38f, 1.2e-38f, 1e-10f, 0x1p-25f}) {
    EXPECT_EQ(Float16(small).bits, 0) << small;
    EXPECT_EQ(Float16(-small).bits, 0x8000) << small;
  }
  for (const uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xff800001u, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(Float16(std::bit_cast<float>(nan))))) << nan;
  }
}

#if defined(__FLT16_MANT_DIG__) && !defined(__clang__)  // clang defines the macro also where it lacks the type
TEST(Float16, AgreesWithTheCompiler) {
  for (uint64_t i = 0; i < uint64_t{1} << 32; i += 257) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(i));
    ASSERT_EQ(Float16(value).bits, std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << i;
  }
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto theirs = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    const auto ours = static_cast<float>(half(bits));
    if (std::isnan(ours) ? !std::isnan(theirs) : ours != theirs) FAIL() << bits;
  }
}
#endif

TEST(BFloat16, RoundsToNearestEven) {
  for (uint32_t low = 0; low < 0x7f80; ++low) {
    const uint32_t middle = low << 16 | 0x8000;
    EXPECT_EQ(BFloat16(std::bit_cast<float>(middle)).bits, (low + 1) / 2 * 2);
    EXPECT_EQ(BFloat16(std::bit_cast<float>(middle - 1)).bits, low);
    EXPECT_EQ(BFloat16(std::bit_cast<float>(middle + 1)).bits, low + 1);
    EXPECT_EQ(static_cast<float>(BFloat16(std::bit_cast<float>(low << 16))), std::bit_cast<float>(low << 16));
  }
  for (const uint32_t nan : {0x7f800001u, 0xff80ffffu, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(nan)))));
  }
}

}  // namespace
}  // namespace heddle
