// EXIF: only the orientation of the first directory, so there is no chain to follow and no loop to fall into.
#include "io/image_formats.h"

namespace heddle {
namespace {

// Reads numbers of either byte order; beyond the end they are zero.
struct Tiff {
  std::span<const std::byte> bytes;
  bool big = false;

  uint32_t read(size_t at, int size) const {
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const size_t place = at + static_cast<size_t>(big ? i : size - 1 - i);
      value = value << 8 | (place < bytes.size() ? static_cast<uint32_t>(bytes[place]) : 0);
    }
    return value;
  }
};

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  constexpr uint32_t orientation_tag = 0x112, type_short = 3, type_long = 4;
  if (exif.size() < 14) return 1;
  Tiff tiff{exif, exif[0] == std::byte{'M'}};
  const uint32_t order = tiff.read(0, 2), magic = tiff.read(2, 2);
  if ((order != 0x4949 && order != 0x4d4d) || magic != 42) return 1;
  const size_t directory = tiff.read(4, 4);
  const size_t entries = tiff.read(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > exif.size()) return 1;
    if (tiff.read(entry, 2) != orientation_tag) continue;
    const uint32_t type = tiff.read(entry + 2, 2);
    const uint32_t value = type == type_short  ? tiff.read(entry + 8, 2)
                           : type == type_long ? tiff.read(entry + 8, 4)
                                               : 1;
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace heddle
