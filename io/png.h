// PNG out with text chunks, and those chunks read back.
#pragma once

#include <map>

#include "io/image.h"

namespace heddle {

using PngText = std::map<std::string, std::string>;  // keyword to UTF-8 text

// Whole or not at all. Keywords are 1 to 79 Latin letters. A text goes into tEXt where it is Latin-1, else into iTXt,
// as Pillow and the programs that read `parameters` expect.
void write_png(const std::string& path, const Image& image, const PngText& texts = {});
std::string encode_png(const Image& image, const PngText& texts = {});

// The text chunks of a PNG (tEXt, zTXt, iTXt). Error(input) as read_image.
PngText read_png_text(const std::string& path);

}  // namespace heddle
