// JPEG: the file is walked from marker to marker, then decoded by stb_image, which by itself would fill what is
// missing. stb_image also trusts Huffman tables to be there and to have no more symbols than it keeps room for, so the
// walk reads all that its decoding of a scan depends on.
#include <stb_image.h>

#include <cstring>
#include <memory>

#include "io/image_formats.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

struct JpegFacts {
  int64_t width = 0, height = 0;
  int orientation = 1;
};

class JpegWalk {
 public:
  JpegWalk(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  JpegFacts facts() {
    at_ = 2;  // past the start-of-image marker
    while (true) {
      const int marker = next_marker();
      if (marker == 0xd9) break;
      if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
      const std::span<const std::byte> segment = next_segment();
      if (is_frame(marker)) read_frame(marker, segment);
      if (marker == 0xc4) read_huffman(segment);
      if (marker == 0xdb) read_quantisation(segment);
      if (marker == 0xe1) read_exif(segment);
      if (marker == 0xda) {
        check_scan(segment);
        skip_scan();
      }
    }
    if (facts_.width == 0) fail("a frame header", "none");
    if (!has_scan_) fail("picture data", "none");
    return facts_;
  }

 private:
  [[noreturn]] void fail(const char* wanted, const std::string& got) const {
    heddle::fail(ErrorCode::input, where_, std::string("JPEG with ") + wanted, got, "another copy of the file");
  }

  int byte(size_t at) const {
    if (at >= file_.size()) fail("an end marker", "a file that ends early");
    return static_cast<int>(file_[at]);
  }

  int next_marker() {
    if (byte(at_) != 0xff) fail("a marker at byte " + std::to_string(at_), "other data");
    while (byte(at_) == 0xff) ++at_;
    if (byte(at_) == 0) fail("a marker at byte " + std::to_string(at_), "a zero");
    return byte(at_++);
  }
  [[noreturn]] void fail(const std::string& wanted, const std::string& got) const { fail(wanted.c_str(), got); }

  std::span<const std::byte> next_segment() {
    const auto length = static_cast<size_t>(byte(at_) << 8 | byte(at_ + 1));
    if (length < 2) fail("segments of two bytes or more", std::to_string(length));
    if (length > file_.size() - at_) fail("an end marker", "a file that ends early");
    const auto segment = file_.subspan(at_ + 2, length - 2);
    at_ += length;
    return segment;
  }

  static bool is_frame(int marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
  }

  void read_frame(int marker, std::span<const std::byte> segment) {
    if (marker > 0xc2) fail("baseline or progressive Huffman coding", "another process");
    if (segment.size() < 6 || segment.size() != 6 + 3 * number_at(segment, 5)) {
      fail("a whole frame header", std::to_string(segment.size()) + " bytes");
    }
    const auto number = [&](size_t at) {
      return static_cast<int>(segment[at]) << 8 | static_cast<int>(segment[at + 1]);
    };
    if (static_cast<int>(segment[0]) != 8) fail("8 bits a sample", std::to_string(static_cast<int>(segment[0])));
    facts_.height = number(1);
    facts_.width = number(3);
    // Each block of 64 samples takes a bit at least.
    check_size(facts_.width, facts_.height, static_cast<int64_t>(file_.size()), 512, where_);
    progressive_ = marker == 0xc2;
    frame_ = segment.subspan(6);
  }

  static size_t number_at(std::span<const std::byte> segment, size_t at) { return static_cast<size_t>(segment[at]); }

  // Tables one after another: class and number, how many symbols there are of each of 16 lengths, the symbols.
  void read_huffman(std::span<const std::byte> segment) {
    for (size_t at = 0; at < segment.size();) {
      if (segment.size() - at < 17) fail("whole Huffman tables", "one that is cut off");
      const size_t kind = number_at(segment, at) >> 4, table = number_at(segment, at) & 15;
      size_t symbols = 0;
      for (size_t i = 1; i <= 16; ++i) symbols += number_at(segment, at + i);
      if (kind > 1 || table > 3) fail("Huffman tables 0 to 3", std::to_string(table));
      if (symbols > 255) fail("at most 255 symbols in a Huffman table", std::to_string(symbols));
      if (symbols > segment.size() - at - 17) fail("whole Huffman tables", "one that is cut off");
      huffman_[kind][table] = true;
      at += 17 + symbols;
    }
  }

  // Tables one after another: precision and number, 64 steps.
  void read_quantisation(std::span<const std::byte> segment) {
    for (size_t at = 0; at < segment.size();) {
      const size_t precision = number_at(segment, at) >> 4, table = number_at(segment, at) & 15;
      if (precision > 1 || table > 3) fail("quantisation tables 0 to 3", std::to_string(table));
      if (segment.size() - at < 1 + 64 * (1 + precision)) fail("whole quantisation tables", "one that is cut off");
      quantisation_[table] = true;
      at += 1 + 64 * (1 + precision);
    }
  }

  // Each component's quantisation and Huffman tables have been read before its scan. A scan of a progressive file holds
  // either DC or AC coefficients, and one that refines DC coefficients has no codes.
  void check_scan(std::span<const std::byte> segment) const {
    const size_t components = segment.empty() ? 0 : number_at(segment, 0);
    if (components < 1 || components > 4 || segment.size() != 4 + 2 * components)
      fail("a whole scan header", "another");
    const size_t first = number_at(segment, 1 + 2 * components), high = number_at(segment, 3 + 2 * components) >> 4;
    for (size_t i = 0; i < components; ++i) {
      size_t at = 0;
      while (at < frame_.size() && frame_[at] != segment[1 + 2 * i]) at += 3;
      if (at == frame_.size()) fail("scans of components of the frame", "another");
      const size_t steps = number_at(frame_, at + 2), dc = number_at(segment, 2 + 2 * i) >> 4,
                   ac = number_at(segment, 2 + 2 * i) & 15;
      const bool needs_dc = !progressive_ || (first == 0 && high == 0), needs_ac = !progressive_ || first != 0;
      const bool sound = steps <= 3 && quantisation_[steps] && (!needs_dc || (dc <= 3 && huffman_[0][dc])) &&
                         (!needs_ac || (ac <= 3 && huffman_[1][ac]));
      if (!sound) fail("the tables of each scan before it", "a scan without");
    }
  }

  void read_exif(std::span<const std::byte> segment) {
    if (segment.size() > 6 && std::memcmp(segment.data(), "Exif\0\0", 6) == 0)
      facts_.orientation = exif_orientation(segment.subspan(6));
  }

  // Coded data run to the next marker that is neither a stuffed zero nor a restart.
  void skip_scan() {
    has_scan_ = true;
    while (byte(at_) != 0xff || byte(at_ + 1) == 0 || (byte(at_ + 1) >= 0xd0 && byte(at_ + 1) <= 0xd7)) ++at_;
  }

  std::span<const std::byte> file_;
  const std::string& where_;
  size_t at_ = 0;
  JpegFacts facts_;
  bool has_scan_ = false, progressive_ = false;
  std::span<const std::byte> frame_;  // of each component: its name, sampling, quantisation table
  bool huffman_[2][4] = {};           // DC, AC
  bool quantisation_[4] = {};
};

}  // namespace

Decoded decode_jpeg(std::span<const std::byte> file, const std::string& where) {
  const JpegFacts facts = JpegWalk(file, where).facts();
  int width = 0, height = 0, components = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(file.data()), static_cast<int>(file.size()), &width,
                            &height, &components, 3),
      stbi_image_free);
  if (!pixels) fail(ErrorCode::input, where, "a sound JPEG", stbi_failure_reason(), "another copy of the file");
  if (width != facts.width || height != facts.height) fail(ErrorCode::input, where, "a JPEG with one frame", "several");
  Decoded out{.orientation = facts.orientation};
  out.image = {width, height, 3, {}};
  out.image.pixels.assign(pixels.get(), pixels.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  return out;
}

}  // namespace heddle
