// Lanczos resizing (window of three lobes) in the fixed-point arithmetic of Pillow's Resample.c.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/image_tensor.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int precision_bits = 22;
constexpr double lobes = 3;

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -lobes && x < lobes ? sinc(x) * sinc(x / lobes) : 0;
}

struct Window {  // what one output sample sums
  int first = 0;
  std::vector<int> weights;  // in units of 2^-22
};

std::vector<Window> windows(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = lobes * filter_scale;
  std::vector<Window> all(static_cast<size_t>(out));
  std::vector<double> exact;
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(in, static_cast<int>(center + support + 0.5));
    exact.clear();
    double sum = 0;
    for (int x = first; x < last; ++x) {
      exact.push_back(lanczos((x - center + 0.5) * (1 / filter_scale)));
      sum += exact.back();
    }
    Window& window = all[static_cast<size_t>(i)];
    window.first = first;
    for (const double weight : exact) {
      const double scaled = (sum == 0 ? weight : weight / sum) * (1 << precision_bits);
      window.weights.push_back(static_cast<int>(scaled + (scaled < 0 ? -0.5 : 0.5)));
    }
  }
  return all;
}

uint8_t to_byte(int64_t sum) {
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> precision_bits, 0, 255));
}

// Sums along one axis: `step` samples lie between neighbours of the axis, `lines` start at the given places.
struct Axis {
  size_t step_in, step_out;
};

void resample_line(const uint8_t* in, uint8_t* out, const std::vector<Window>& all, Axis axis) {
  for (size_t i = 0; i < all.size(); ++i) {
    int64_t sum = 1 << (precision_bits - 1);
    const uint8_t* p = in + static_cast<size_t>(all[i].first) * axis.step_in;
    for (const int weight : all[i].weights) {
      sum += static_cast<int64_t>(weight) * *p;
      p += axis.step_in;
    }
    out[i * axis.step_out] = to_byte(sum);
  }
}

Image resize_across(const Image& image, int width) {
  Image out{width, image.height, image.channels, {}};
  const auto channels = static_cast<size_t>(image.channels);
  const size_t row_in = static_cast<size_t>(image.width) * channels, row_out = static_cast<size_t>(width) * channels;
  out.pixels.resize(row_out * static_cast<size_t>(image.height));
  const std::vector<Window> all = windows(image.width, width);
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) {
    for (size_t c = 0; c < channels; ++c) {
      resample_line(&image.pixels[y * row_in + c], &out.pixels[y * row_out + c], all, {channels, channels});
    }
  }
  return out;
}

Image resize_down(const Image& image, int height) {
  Image out{image.width, height, image.channels, {}};
  const size_t row = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  out.pixels.resize(row * static_cast<size_t>(height));
  const std::vector<Window> all = windows(image.height, height);
  for (size_t x = 0; x < row; ++x) resample_line(&image.pixels[x], &out.pixels[x], all, {row, row});
  return out;
}

}  // namespace

Image resize_lanczos(const Image& image, int width, int height) {
  if (width < 1 || height < 1 || image.pixels.empty()) {
    fail(ErrorCode::internal, "resize", "a size of one pixel or more",
         std::to_string(width) + "x" + std::to_string(height));
  }
  const Image across = width == image.width ? image : resize_across(image, width);
  return height == image.height ? across : resize_down(across, height);
}

}  // namespace heddle
