// Pictures in memory, eight bits a channel, and files of JPEG, PNG or WebP read into them as Pillow would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace heddle {

struct Image {
  int width = 0, height = 0;
  int channels = 3;             // 1 grey, 3 red green blue, 4 with alpha
  std::vector<uint8_t> pixels;  // rows from the top, channels innermost
};

enum class Channels : uint8_t { grey = 1, rgb = 3, rgba = 4 };

// The format is told by the first bytes, never by the name. The EXIF orientation is obeyed. Alpha is dropped for rgb
// and grey, not blended with a background; grey is ITU-R 601 luma; of 16 bits the upper eight are kept; embedded colour
// profiles are not applied. Error(input) for what is damaged, cut off, animated, more than 16384 pixels a side or 2^27
// in all, or claims more pixels than a file of its size can hold.
Image read_image(const std::string& path, Channels channels = Channels::rgb);
Image decode_image(std::span<const std::byte> file, const std::string& where, Channels channels = Channels::rgb);

Image to_channels(const Image& image, Channels channels);

// Turned upright by an EXIF orientation of 1 to 8.
Image turn_upright(const Image& image, int orientation);

}  // namespace heddle
