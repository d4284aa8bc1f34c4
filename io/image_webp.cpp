// WebP by libwebp; its EXIF block is looked up in the RIFF container.
#include <webp/decode.h>

#include <cstring>

#include "io/image_formats.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

uint32_t little_endian(std::span<const std::byte> file, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint32_t>(file[at + i]);
  return value;
}

// The chunk of that name, empty where there is none.
std::span<const std::byte> find_chunk(std::span<const std::byte> file, const char* name) {
  size_t at = 12;  // past RIFF, size, WEBP
  while (at + 8 <= file.size()) {
    const size_t size = little_endian(file, at + 4);
    if (size > file.size() - at - 8) return {};
    if (std::memcmp(file.data() + at, name, 4) == 0) return file.subspan(at + 8, size);
    at += 8 + size + size % 2;
  }
  return {};
}

int orientation_of(std::span<const std::byte> file) {
  std::span<const std::byte> exif = find_chunk(file, "EXIF");
  if (exif.size() > 6 && std::memcmp(exif.data(), "Exif\0\0", 6) == 0) exif = exif.subspan(6);
  return exif_orientation(exif);
}

}  // namespace

Decoded decode_webp(std::span<const std::byte> file, const std::string& where) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(file.data());
  const auto damaged = [&](const char* got) {
    fail(ErrorCode::input, where, "a sound WebP", got, "another copy of the file");
  };
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes, file.size(), &features) != VP8_STATUS_OK) damaged("a header that cannot be read");
  if (features.has_animation != 0) fail(ErrorCode::input, where, "a still picture", "an animation");
  // A lossless picture of one colour takes no bits for its pixels, so the file's size says nothing about theirs.
  check_size(features.width, features.height, int64_t{1} << 28, 1, where);
  const int channels = features.has_alpha != 0 ? 4 : 3;
  Decoded out{.orientation = orientation_of(file)};
  out.image = {features.width, features.height, channels, {}};
  out.image.pixels.resize(static_cast<size_t>(features.width) * static_cast<size_t>(features.height) *
                          static_cast<size_t>(channels));
  const auto decode = channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  uint8_t* pixels = out.image.pixels.data();
  if (decode(bytes, file.size(), pixels, out.image.pixels.size(), features.width * channels) == nullptr)
    damaged("damaged data");
  return out;
}

}  // namespace heddle
