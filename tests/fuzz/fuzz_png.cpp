// PNG files whose checksums are right, whatever else is wrong: the picture, the texts, and the preset among them.
#include <zlib.h>

#include "io/file.h"
#include "io/png.h"
#include "io/preset_file.h"
#include "tests/fuzz/accept.h"

namespace {

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Chunks follow the 8 bytes of the signature: length, name, data, checksum of name and data.
std::string with_checksums(std::string png) {
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = big_endian(png, at);
    if (length > png.size() - at - 12) break;
    const uLong sum = crc32(0, reinterpret_cast<const Bytef*>(&png[at + 4]), static_cast<uInt>(length + 4));
    for (size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
  return png;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  const std::string png = with_checksums(std::string(testing::text_of(data, size)));
  testing::accept([&] { decode_image(std::as_bytes(std::span(png)), "fuzz"); });
  const std::string path = testing::scratch_folder() + "/input.png";
  write_file(path, png);
  return testing::accept([&] {
    for (const auto& [keyword, text] : read_png_text(path)) {
      if (keyword == "heddle") preset_from_json(text, "fuzz", {});
    }
  });
}
