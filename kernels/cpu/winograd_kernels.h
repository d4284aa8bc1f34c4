// The inner loops of the Winograd convolution, chosen for the processor at run time. Names follow Lavin & Gray 2016:
// V the transformed input, U the transformed filter, M their products.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace heddle::cpu::winograd {

constexpr int64_t tile = 4;             // results per side
constexpr int64_t points = 36;          // (tile + 2)^2
constexpr int64_t channel_block = 32;   // output channels of one task
constexpr int64_t depth_block = 64;     // input channels between two visits to M
constexpr int64_t tap_row = 9 * channel_block;
constexpr int64_t skew = 16;            // floats between the points of a buffer, so that they do not meet in one cache set
constexpr int64_t u_point_stride = depth_block * channel_block + skew;
constexpr int64_t m_point_stride(int64_t tiles) { return tiles * channel_block + skew; }

// Sizes of one convolution; x and y are dense and channels-last.
struct Picture {
  int64_t height, width, channels;              // of x
  int64_t out_height, out_width, out_channels;  // of y
  int64_t top, left;                            // zeros before the first row and column
  int64_t tiles_y, tiles_x;                     // of one picture
  DType dtype;                                  // of x, y and residual
};

// A run of tiles, numbered over all pictures, whose V is [depth blocks][points][tile][depth_block].
struct Chunk {
  int64_t first_tile, tiles;
  float* v;
  int64_t point_stride, depth_stride;  // in floats
};

// Fills V for the tiles begin..end of the chunk and one depth block.
void transform_input(const Picture& picture, const void* x, const Chunk& chunk, int64_t depth, int64_t begin, int64_t end);

struct FilterView {
  const void* packed;  // [out/32][in][9][32]
  DType dtype;
  int64_t out, in;     // of the packed filter
  bool turned;         // the filter of the backward pass: in and out exchanged, taps reversed
};

struct Epilogue {
  const float* bias;         // [pictures or 1][out channels]; may be null
  int64_t bias_stride;       // 0 where all pictures share one row
  const void* residual;      // like y; may be null
  void* y;
};

// Buffers of one thread.
struct Workspace {
  float* u;      // [points][depth_block][channel_block]
  float* m;      // [points][tiles][channel_block]
  float* turned; // [channel_block][9][channel_block]
};
constexpr int64_t u_floats = points * u_point_stride;
constexpr int64_t turned_floats = channel_block * tap_row;

// Output channels block*32.. of the tiles begin..end of the chunk, from V to y.
struct BlockTask {
  int64_t block, begin, end;
};
void multiply_block(const Picture& picture, const Chunk& chunk, const FilterView& filter, const Epilogue& epilogue,
                    const BlockTask& task, const Workspace& work);

}  // namespace heddle::cpu::winograd
