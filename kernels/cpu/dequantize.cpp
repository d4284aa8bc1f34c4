// The block formats. A block of the K kinds is 256 numbers in groups of 32 (16 for Q2_K, Q3_K and Q6_K) with a small
// scale each, which the block's own scale multiplies.
#include "kernels/cpu/dequantize.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/dtype.h"
#include "kernels/cpu/parallel.h"

namespace heddle::cpu {
namespace {

using Bytes = const uint8_t*;

float half_at(Bytes p) {
  Float16 h{};
  std::memcpy(&h.bits, p, 2);
  return static_cast<float>(h);
}

void f32_block(Bytes b, float* y) {
  std::memcpy(y, b, 4);
}
void f16_block(Bytes b, float* y) {
  *y = half_at(b);
}
void bf16_block(Bytes b, float* y) {
  BFloat16 value{};
  std::memcpy(&value.bits, b, 2);
  *y = static_cast<float>(value);
}

// scale f16, 32 signed bytes.
void q8_0_block(Bytes b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

// scale f16, 32 numbers of 4 bits less 8: the first half in the low ones, the second in the high ones.
void q4_0_block(Bytes b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

// scale f16, [minimum f16,] [32 fifth bits,] 32 numbers of 4 bits as above; without a minimum they are less 16.
template <bool has_minimum, bool has_fifth>
void q45_block(Bytes b, float* y) {
  const float d = half_at(b), minimum = has_minimum ? half_at(b + 2) : 0;
  const Bytes high = b + (has_minimum ? 4 : 2), low = high + (has_fifth ? 4 : 0);
  for (int i = 0; i < 32; ++i) {
    int q = (low[i % 16] >> (4 * (i / 16))) & 15;
    if (has_fifth) q |= ((high[i / 8] >> (i % 8)) & 1) << 4;
    y[i] = has_minimum ? d * static_cast<float>(q) + minimum : d * static_cast<float>(q - 16);
  }
}

// As Q4_0, but the 4 bits choose from a table: finer steps round zero.
void iq4_nl_block(Bytes b, float* y) {
  static constexpr float table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * table[(b[2 + i % 16] >> (4 * (i / 16))) & 15];
}

// 16 bytes of scale (low half) and minimum (high) of 16 numbers each, 64 bytes of 2 bits, scale f16, scale of minima
// f16. Of each half of the block, four runs of 32 share 32 bytes.
void q2_k_block(Bytes b, float* y) {
  const Bytes groups = b, low = b + 16;
  const float d = half_at(b + 80), d_min = half_at(b + 82);
  for (int group = 0; group < 16; ++group) {
    const Bytes bits = low + 32 * (group / 8) + 16 * (group % 2);
    const int shift = 2 * (group / 2 % 4);
    const float step = d * static_cast<float>(groups[group] & 15),
                offset = d_min * static_cast<float>(groups[group] >> 4);
    for (int i = 0; i < 16; ++i) y[16 * group + i] = step * static_cast<float>((bits[i] >> shift) & 3) - offset;
  }
}

// 32 bytes of third bits (run of 32 number j in bit j; the number is less 4 where it is not set), 64 bytes of 2 bits as
// in Q2_K, 12 bytes of 16 scales less 32, scale f16. The low 4 bits of scales are the halves of bytes 0..7, the low
// ones first; the high 2 those of bytes 8..11, four to a byte.
void q3_k_block(Bytes b, float* y) {
  const Bytes high = b, low = b + 32, scales = b + 96;
  const float d = half_at(b + 108);
  for (int group = 0; group < 16; ++group) {
    const Bytes bits = low + 32 * (group / 8) + 16 * (group % 2), thirds = high + 16 * (group % 2);
    const int run = group / 2, shift = 2 * (run % 4);
    const int scale =
        ((scales[group % 8] >> (4 * (group / 8))) & 15) | (((scales[8 + group % 4] >> (2 * (group / 4))) & 3) << 4);
    const float step = d * static_cast<float>(scale - 32);
    for (int i = 0; i < 16; ++i) {
      const int q = ((bits[i] >> shift) & 3) - 4 + (((thirds[i] >> run) & 1) << 2);
      y[16 * group + i] = step * static_cast<float>(q);
    }
  }
}

// Scale and minimum, 6 bits each, of group j of 8 in 12 bytes: of the first four groups they stand in the low bits of
// bytes 0..3 and 4..7; of the others the low 4 bits share bytes 8..11 and the high 2 are those of the bytes before.
struct ScaleAndMinimum {
  float scale, minimum;
};
ScaleAndMinimum group_of(Bytes s, int j) {
  if (j < 4) return {static_cast<float>(s[j] & 63), static_cast<float>(s[j + 4] & 63)};
  return {static_cast<float>((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4)),
          static_cast<float>((s[j + 4] >> 4) | ((s[j] >> 6) << 4))};
}

// scale f16, scale of minima f16, 12 bytes of groups, [32 bytes of fifth bits,] 128 bytes: 64 numbers in each 32, the
// first group in the low halves.
template <bool has_fifth>
void q45_k_block(Bytes b, float* y) {
  const float d = half_at(b), d_min = half_at(b + 2);
  const Bytes groups = b + 4, high = b + 16, low = b + (has_fifth ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, minimum] = group_of(groups, j);
    const float step = d * scale, offset = d_min * minimum;
    for (int i = 0; i < 32; ++i) {
      int q = (low[32 * (j / 2) + i] >> (4 * (j % 2))) & 15;
      if (has_fifth) q |= ((high[i] >> j) & 1) << 4;
      y[32 * j + i] = step * static_cast<float>(q) - offset;
    }
  }
}

// 128 bytes of low 4 bits, 64 of high 2, 16 signed scales of 16 numbers each, scale f16. Of each half of the block,
// four runs of 32: the low bits of two share a byte, the high bits of all four do.
void q6_k_block(Bytes b, float* y) {
  const Bytes low = b, high = b + 128, scales = b + 192;
  const float d = half_at(b + 208);
  for (int half = 0; half < 2; ++half) {
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < 32; ++i) {
        const int l = (low[64 * half + 32 * (run % 2) + i] >> (4 * (run / 2))) & 15;
        const int q = (l | (((high[32 * half + i] >> (2 * run)) & 3) << 4)) - 32;
        const auto scale = static_cast<float>(static_cast<int8_t>(scales[8 * half + 2 * run + i / 16]));
        y[128 * half + 32 * run + i] = d * scale * static_cast<float>(q);
      }
    }
  }
}

using Block = void (*)(Bytes, float*);
// As BlockType counts them.
constexpr Block blocks[] = {f32_block,
                            f16_block,
                            bf16_block,
                            q8_0_block,
                            q4_0_block,
                            q45_block<true, false>,
                            q45_block<false, true>,
                            q45_block<true, true>,
                            iq4_nl_block,
                            q2_k_block,
                            q3_k_block,
                            q45_k_block<false>,
                            q45_k_block<true>,
                            q6_k_block};
constexpr int64_t largest_block = 256;

// Columns [first, first + count) of one row, a block at a time: of those at the edges a part is wanted.
template <typename T>
void dequantize_row(const QuantizedRows& part, Bytes row, T* out) {
  const BlockFormat& format = format_of(part.type);
  const Block block = blocks[static_cast<size_t>(part.type)];
  float numbers[largest_block];
  const int64_t end = part.first + part.count, size = format.elements;
  for (int64_t at = part.first / size * size; at < end; at += size) {
    block(row + at / size * format.bytes, numbers);
    for (int64_t i = std::max(at, part.first); i < std::min(at + size, end); ++i)
      out[i - part.first] = static_cast<T>(numbers[i - at]);
  }
}

template <typename T>
void dequantize_into(const QuantizedMatrix& matrix, T* out) {
  for (const QuantizedRows& part : matrix.parts()) {
    const auto* data = reinterpret_cast<Bytes>(part.data);
    for_pieces(part.rows, part.count, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) dequantize_row(part, data + r * part.row_bytes(), out + r * part.count);
    });
    out += part.rows * part.count;
  }
}

}  // namespace

void dequantize(const QuantizedMatrix& matrix, Tensor& out) {
  if (out.dtype() == DType::f32) return dequantize_into(matrix, out.fill_data<float>());
  dequantize_into(matrix, out.fill_data<BFloat16>());
}

}  // namespace heddle::cpu
