// What the readers of the formats share. For io/image*.cpp only.
#pragma once

#include <map>

#include "io/image.h"

namespace heddle {

struct Decoded {
  Image image;
  int orientation = 1;                       // EXIF
  std::map<std::string, std::string> texts;  // PNG's text chunks, UTF-8
};

// Error(input) where the sides are out of bounds, or where `file_bytes` cannot hold so many: no compression of the
// format makes more than `most_pixels_per_byte`.
void check_size(int64_t width, int64_t height, int64_t file_bytes, int64_t most_pixels_per_byte,
                const std::string& where);

Decoded decode_jpeg(std::span<const std::byte> file, const std::string& where);
Decoded decode_png(std::span<const std::byte> file, const std::string& where);
Decoded decode_webp(std::span<const std::byte> file, const std::string& where);

// The orientation in an EXIF block (a TIFF header and its first directory): 1 to 8, and 1 where it is absent or
// damaged.
int exif_orientation(std::span<const std::byte> exif);

}  // namespace heddle
