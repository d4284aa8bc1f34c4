// Which format a file has, its bounds, and the conversions between channels.
#include "io/image.h"

#include <cstring>

#include "io/file.h"
#include "io/image_formats.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int64_t largest_side = 16384;
constexpr int64_t most_pixels = int64_t{1} << 27;
constexpr int64_t largest_file = int64_t{1} << 28;

bool begins_with(std::span<const std::byte> file, size_t at, std::string_view magic) {
  return file.size() >= at + magic.size() && std::memcmp(file.data() + at, magic.data(), magic.size()) == 0;
}

uint8_t luma(const uint8_t* rgb) {  // Pillow's fixed-point form of ITU-R 601
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

void convert_pixel(const uint8_t* from, int from_channels, uint8_t* to, int to_channels) {
  if (to_channels == 1) {
    to[0] = from_channels == 1 ? from[0] : luma(from);
    return;
  }
  for (int c = 0; c < 3; ++c) to[c] = from_channels == 1 ? from[0] : from[c];
  if (to_channels == 4) to[3] = from_channels == 4 ? from[3] : 255;
}

}  // namespace

void check_size(int64_t width, int64_t height, int64_t file_bytes, int64_t most_pixels_per_byte,
                const std::string& where) {
  const std::string got = std::to_string(width) + "x" + std::to_string(height);
  if (width < 1 || height < 1 || width > largest_side || height > largest_side || width * height > most_pixels) {
    fail(ErrorCode::input, where, "a picture of 1 to 16384 pixels a side and at most 2^27 in all", got);
  }
  if (width * height > file_bytes * most_pixels_per_byte + 65536) {
    fail(ErrorCode::input, where, "a picture that its file can hold",
         got + " in " + std::to_string(file_bytes) + " bytes", "another copy of the file");
  }
}

Image read_image(const std::string& path, Channels channels) {
  const std::string file = read_file(path, largest_file);
  return decode_image(std::as_bytes(std::span(file)), path, channels);
}

Image decode_image(std::span<const std::byte> file, const std::string& where, Channels channels) {
  Decoded decoded;
  if (begins_with(file, 0, "\xff\xd8\xff")) {
    decoded = decode_jpeg(file, where);
  } else if (begins_with(file, 0, "\x89PNG\r\n\x1a\n")) {
    decoded = decode_png(file, where);
  } else if (begins_with(file, 0, "RIFF") && begins_with(file, 8, "WEBP")) {
    decoded = decode_webp(file, where);
  } else {
    fail(ErrorCode::input, where, "a picture in JPEG, PNG or WebP",
         file.empty() ? "an empty file" : "another kind of file");
  }
  return turn_upright(to_channels(decoded.image, channels), decoded.orientation);
}

Image to_channels(const Image& image, Channels channels) {
  const int wanted = static_cast<int>(channels);
  if (wanted == image.channels) return image;
  Image out{image.width, image.height, wanted, {}};
  const size_t count = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
  out.pixels.resize(count * static_cast<size_t>(wanted));
  for (size_t i = 0; i < count; ++i) {
    convert_pixel(&image.pixels[i * static_cast<size_t>(image.channels)], image.channels,
                  &out.pixels[i * static_cast<size_t>(wanted)], wanted);
  }
  return out;
}

Image turn_upright(const Image& image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool turned = orientation >= 5;
  Image out{turned ? image.height : image.width, turned ? image.width : image.height, image.channels, {}};
  out.pixels.resize(image.pixels.size());
  const int right = image.width - 1, bottom = image.height - 1;
  const auto channels = static_cast<size_t>(image.channels);
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, to += channels) {
      int from_x = turned ? y : x, from_y = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) from_x = right - from_x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) from_y = bottom - from_y;
      const size_t from =
          (static_cast<size_t>(from_y) * static_cast<size_t>(image.width) + static_cast<size_t>(from_x)) * channels;
      std::memcpy(to, &image.pixels[from], channels);
    }
  }
  return out;
}

}  // namespace heddle
