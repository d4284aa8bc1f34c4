// PNG in, by libpng: checksums are verified, so a damaged file is an error rather than a damaged picture.
#include <png.h>

#include <cstdio>
#include <cstring>

#include "io/file.h"
#include "io/image_formats.h"
#include "io/png.h"
#include "io/utf8.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

// libpng reports errors by longjmp. Everything that owns memory lives here, outside the functions that are jumped over.
struct Reading {
  std::span<const std::byte> file;
  const std::string& where;
  size_t at = 0;
  char fault[160] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  Decoded out;
  std::vector<png_bytep> rows;

  Reading(std::span<const std::byte> file, const std::string& where) : file(file), where(where) {}
  ~Reading() { png_destroy_read_struct(&png, &info, nullptr); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reading = static_cast<Reading*>(png_get_error_ptr(png));
  std::snprintf(reading->fault, sizeof(reading->fault), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, size_t count) {
  auto* reading = static_cast<Reading*>(png_get_io_ptr(png));
  if (count > reading->file.size() - reading->at) png_error(png, "a file that ends early");
  std::memcpy(out, reading->file.data() + reading->at, count);
  reading->at += count;
}

// Runs `step`, which may be left by longjmp and so must own nothing.
template <typename Step>
void guarded(Reading& reading, Step step) {
  if (setjmp(png_jmpbuf(reading.png)) != 0) {
    fail(ErrorCode::input, reading.where, "a sound PNG", reading.fault, "another copy of the file");
  }
  step(reading.png, reading.info);
}

// Everything to 8 bits: grey, RGB or RGBA.
void ask_for_bytes(png_structp png, png_infop info) {
  const int type = png_get_color_type(png, info);
  png_set_strip_16(png);
  png_set_expand(png);
  const bool has_alpha = (type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  if (has_alpha && (type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

void check_claim(const Reading& reading) {
  const auto width = static_cast<int64_t>(png_get_image_width(reading.png, reading.info));
  const auto height = static_cast<int64_t>(png_get_image_height(reading.png, reading.info));
  const int bits = png_get_bit_depth(reading.png, reading.info) * png_get_channels(reading.png, reading.info);
  // Deflate expands at most 1032 times.
  check_size(width, height, static_cast<int64_t>(reading.file.size()), 1032 * 8 / bits, reading.where);
}

void make_room(Reading& reading) {
  Image& image = reading.out.image;
  image.width = static_cast<int>(png_get_image_width(reading.png, reading.info));
  image.height = static_cast<int>(png_get_image_height(reading.png, reading.info));
  image.channels = png_get_channels(reading.png, reading.info);
  const size_t row_bytes = png_get_rowbytes(reading.png, reading.info);
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  for (int y = 0; y < image.height; ++y) reading.rows.push_back(&image.pixels[row_bytes * static_cast<size_t>(y)]);
}

void collect_texts(Reading& reading) {
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reading.png, reading.info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    const bool is_utf = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    const std::string text(texts[i].text == nullptr ? "" : texts[i].text,
                           is_utf ? texts[i].itxt_length : texts[i].text_length);
    reading.out.texts[latin1_to_utf8(texts[i].key)] = is_utf && is_utf8(text) ? text : latin1_to_utf8(text);
  }
}

void collect_orientation(Reading& reading) {
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(reading.png, reading.info, &size, &exif) != 0) {
    reading.out.orientation = exif_orientation(std::as_bytes(std::span(exif, size)));
  }
}

// libpng takes memory for the length that a chunk states before it looks for the chunk's bytes.
void check_lengths(std::span<const std::byte> file, const std::string& where) {
  constexpr size_t signature = 8, around = 12;  // around the data of a chunk: its length, name, checksum
  for (size_t at = signature;;) {
    if (at > file.size() || file.size() - at < around) {
      fail(ErrorCode::input, where, "a PNG with an end chunk", "a file that ends early", "another copy of the file");
    }
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<size_t>(file[at + i]);
    if (length > file.size() - at - around) {
      fail(ErrorCode::input, where, "PNG chunks that lie within the file",
           "one of " + std::to_string(length) + " bytes", "another copy of the file");
    }
    if (std::memcmp(&file[at + 4], "IEND", 4) == 0) return;
    at += around + length;
  }
}

}  // namespace

Decoded decode_png(std::span<const std::byte> file, const std::string& where) {
  check_lengths(file, where);
  Reading reading(file, where);
  reading.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, on_error, on_warning);
  if (reading.png != nullptr) reading.info = png_create_info_struct(reading.png);
  if (reading.info == nullptr) fail(ErrorCode::memory, where, "memory for libpng", "none");
  png_set_read_fn(reading.png, &reading, on_read);
  png_set_user_limits(reading.png, 16384, 16384);
  png_set_chunk_malloc_max(reading.png, 16 << 20);
  png_set_chunk_cache_max(reading.png, 256);
  guarded(reading, [](png_structp png, png_infop info) { png_read_info(png, info); });
  check_claim(reading);
  guarded(reading, ask_for_bytes);
  make_room(reading);
  guarded(reading, [&reading](png_structp png, png_infop info) {
    png_read_image(png, reading.rows.data());
    png_read_end(png, info);
  });
  collect_texts(reading);
  collect_orientation(reading);
  return std::move(reading.out);
}

PngText read_png_text(const std::string& path) {
  const std::string file = read_file(path, int64_t{1} << 28);
  if (!file.starts_with("\x89PNG\r\n\x1a\n")) fail(ErrorCode::input, path, "a PNG", "another kind of file");
  return decode_png(std::as_bytes(std::span(file)), path).texts;
}

}  // namespace heddle
