// PNG out, by libpng.
#include <png.h>

#include <cstdio>
#include <utility>

#include "io/file.h"
#include "io/png.h"
#include "io/utf8.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

struct Writing {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string out;
  char fault[160] = "";
  std::vector<std::pair<std::string, std::string>> held;  // keyword and text as they go into the file
  std::vector<png_text> texts;
  std::vector<png_const_bytep> rows;

  Writing() = default;
  ~Writing() { png_destroy_write_struct(&png, &info); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* writing = static_cast<Writing*>(png_get_error_ptr(png));
  std::snprintf(writing->fault, sizeof(writing->fault), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_write(png_structp png, png_bytep bytes, size_t count) {
  static_cast<Writing*>(png_get_io_ptr(png))->out.append(reinterpret_cast<const char*>(bytes), count);
}

void on_flush(png_structp) {}

void hold_texts(Writing& writing, const PngText& texts) {
  std::vector<bool> wide;
  for (const auto& [keyword, text] : texts) {
    const auto latin = utf8_to_latin1(text);
    if (!latin && !is_utf8(text)) fail(ErrorCode::internal, "png " + keyword, "UTF-8", "other bytes");
    writing.held.emplace_back(keyword, latin ? *latin : text);
    wide.push_back(!latin);
  }
  for (size_t i = 0; i < writing.held.size(); ++i) {
    png_text chunk{};
    chunk.compression = wide[i] ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
    chunk.key = writing.held[i].first.data();
    chunk.text = writing.held[i].second.data();
    chunk.text_length = wide[i] ? 0 : writing.held[i].second.size();
    chunk.itxt_length = wide[i] ? writing.held[i].second.size() : 0;
    writing.texts.push_back(chunk);
  }
}

void check_image(const Image& image) {
  const bool known = image.channels == 1 || image.channels == 3 || image.channels == 4;
  const size_t wanted =
      static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * static_cast<size_t>(image.channels);
  if (!known || image.width < 1 || image.height < 1 || image.pixels.size() != wanted) {
    fail(ErrorCode::internal, "png", "1, 3 or 4 channels and all pixels",
         std::to_string(image.pixels.size()) + " bytes");
  }
}

// May be left by longjmp and owns nothing.
void write_all(Writing& writing, const Image& image) {
  const int type = image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                   : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                         : PNG_COLOR_TYPE_RGB_ALPHA;
  png_set_write_fn(writing.png, &writing, on_write, on_flush);
  png_set_IHDR(writing.png, writing.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               8, type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_text(writing.png, writing.info, writing.texts.data(), static_cast<int>(writing.texts.size()));
  png_write_info(writing.png, writing.info);
  png_write_image(writing.png, const_cast<png_bytepp>(writing.rows.data()));
  png_write_end(writing.png, writing.info);
}

}  // namespace

std::string encode_png(const Image& image, const PngText& texts) {
  check_image(image);
  Writing writing;
  hold_texts(writing, texts);
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  for (int y = 0; y < image.height; ++y) writing.rows.push_back(&image.pixels[row_bytes * static_cast<size_t>(y)]);
  writing.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writing, on_error, on_warning);
  if (writing.png != nullptr) writing.info = png_create_info_struct(writing.png);
  if (writing.info == nullptr) fail(ErrorCode::memory, "png", "memory for libpng", "none");
  if (setjmp(png_jmpbuf(writing.png)) != 0) fail(ErrorCode::internal, "png", "to encode the picture", writing.fault);
  write_all(writing, image);
  return std::move(writing.out);
}

void write_png(const std::string& path, const Image& image, const PngText& texts) {
  write_file(path, encode_png(image, texts));
}

}  // namespace heddle
