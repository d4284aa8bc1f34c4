// Broken pictures: cut at every boundary, damaged in every chunk, headers that claim what the file cannot hold.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "io/file.h"
#include "io/image.h"
#include "io/png.h"
#include "tests/io/hostile.h"

namespace heddle::testing {
namespace {

std::string fixture(const std::string& name) {
  return read_file(std::string(HEDDLE_FIXTURES) + "/io/" + name, 1 << 20);
}

std::string fault(const std::string& bytes) {
  return fault_of(ErrorCode::input, [&] { decode_image(std::as_bytes(std::span(bytes)), "x"); });
}
std::string fault_or_sound(const std::string& bytes) {
  return fault_unless_sound(ErrorCode::input, [&] { decode_image(std::as_bytes(std::span(bytes)), "x"); });
}

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string chunk(const std::string& name, const std::string& data) {
  const std::string body = name + data;
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body + big_endian(static_cast<uint32_t>(crc));
}

std::string deflated(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string out(size, '\0');
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(data.data()), data.size());
  out.resize(size);
  return out;
}

std::string png(uint32_t width, uint32_t height, const std::string& depth_and_kind, const std::string& middle) {
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", big_endian(width) + big_endian(height) + depth_and_kind) + middle +
         chunk("IEND", "");
}

const std::string rgb8("\x08\x02\0\0\0", 5);

TEST(HostileImage, NoPictures) {
  for (const std::string bytes : {"", "\xff", "\xff\xd8", "\xff\xd8\xff", "\x89PNG", "\x89PNG\r\n\x1a\n", "RIFF",
                                  "RIFF\4\0\0\0WEBP", "GIF89a", "BM", "<svg/>", "%PDF-1.4", "II*\0",
                                  "\0\0\0\x0c"
                                  "jP  ",
                                  "hello", "P6 1 1 255\n", "#?RADIANCE\n"}) {
    EXPECT_EQ(fault(bytes), "") << bytes;
  }
  EXPECT_EQ(fault(std::string(1000, '\0')), "");
  EXPECT_EQ(fault_of(ErrorCode::input, [] { read_image("/dev/zero"); }), "");
  EXPECT_EQ(fault_of(ErrorCode::input, [] { read_image("/"); }), "");
  EXPECT_EQ(fault_of(ErrorCode::input, [] { read_png_text(std::string(HEDDLE_FIXTURES) + "/io/plain.jpg"); }), "");
}

TEST(HostileImage, CutAnywhere) {
  int cases = 0;
  for (const char* name : {"rgb.png", "palette_alpha.png", "texts.png", "plain.jpg", "progressive.jpg", "turned6.jpg",
                           "lossless.webp", "lossy.webp", "alpha.webp"}) {
    const std::string good = fixture(name);
    ASSERT_NE(fault(good), "") << name << " is sound to begin with";
    for (size_t cut = 0; cut < good.size(); cut += 1 + cut / 20, ++cases) {
      EXPECT_EQ(fault(good.substr(0, cut)), "") << name << " cut at " << cut;
    }
  }
  EXPECT_GE(cases, 200);
}

TEST(HostileImage, APngWithAnyBitFlippedIsRefusedOrSound) {
  const std::string good = fixture("rgb.png");
  int refused = 0;
  for (size_t bit = 0; bit < good.size() * 8; bit += 3) {
    const std::string bytes = flip_bit(good, bit);
    ASSERT_EQ(fault_or_sound(bytes), "") << bit;
    refused += fault(bytes).empty() ? 1 : 0;
  }
  // Only the names and flags of chunks that do not matter may change unseen.
  EXPECT_GE(refused, static_cast<int>(good.size() * 8 / 3) * 95 / 100);
}

TEST(HostileImage, PngHeadersThatLie) {
  const std::string data = chunk("IDAT", deflated(std::string(4 * (1 + 3 * 4), 'x')));
  const std::string good_data = chunk("IDAT", deflated(std::string(4 * (1 + 3 * 4), '\0')));
  ASSERT_EQ(fault(png(4, 4, rgb8, good_data)), "no error");
  const std::pair<const char*, std::string> cases[] = {
      {"unknown filter", png(4, 4, rgb8, data)},
      {"no width", png(0, 4, rgb8, good_data)},
      {"no height", png(4, 0, rgb8, good_data)},
      {"too wide", png(16385, 4, rgb8, good_data)},
      {"too high", png(4, 16385, rgb8, good_data)},
      {"negative width", png(0x80000004, 4, rgb8, good_data)},
      {"largest", png(0x7fffffff, 0x7fffffff, rgb8, good_data)},
      {"more than the file can hold", png(16000, 8000, rgb8, good_data)},
      {"too many pixels", png(16384, 16384, rgb8, good_data)},
      {"higher than its data", png(4, 5, rgb8, good_data)},
      {"depth 3", png(4, 4, std::string("\x03\x02\0\0\0", 5), good_data)},
      {"kind 5", png(4, 4, std::string("\x08\x05\0\0\0", 5), good_data)},
      {"depth 4 of RGB", png(4, 4, std::string("\x04\x02\0\0\0", 5), good_data)},
      {"interlace 9", png(4, 4, std::string("\x08\x02\0\0\x09", 5), good_data)},
      {"compression 1", png(4, 4, std::string("\x08\x02\x01\0\0", 5), good_data)},
      {"palette without colours",
       png(4, 4, std::string("\x08\x03\0\0\0", 5), chunk("IDAT", deflated(std::string(20, '\0'))))},
      {"palette of 769 bytes",
       png(4, 4, std::string("\x08\x03\0\0\0", 5),
           chunk("PLTE", std::string(769, 'x')) + chunk("IDAT", deflated(std::string(20, '\0'))))},
      {"no data", png(4, 4, rgb8, "")},
      {"data that is no deflate", png(4, 4, rgb8, chunk("IDAT", "zzzzzzzzzzzzzzzz"))},
      {"empty data", png(4, 4, rgb8, chunk("IDAT", ""))},
      {"two headers", png(4, 4, rgb8, chunk("IHDR", big_endian(4) + big_endian(4) + rgb8) + good_data)},
      {"unknown chunk that matters", png(4, 4, rgb8, chunk("ABCD", "x") + good_data)},
      {"chunk longer than the file", png(4, 4, rgb8, std::string("\x7f\xff\xff\xf0", 4) + "IDATx")},
      {"header not first", "\x89PNG\r\n\x1a\n" + good_data + chunk("IEND", "")},
      {"short header", "\x89PNG\r\n\x1a\n" + chunk("IHDR", "abc") + good_data + chunk("IEND", "")},
  };
  for (const auto& [name, bytes] : cases) EXPECT_EQ(fault(bytes), "") << name;
}

// A text chunk of a few bytes that unfolds to a gigabyte is dropped, not unfolded.
TEST(HostileImage, TextBombs) {
  const TemporaryFolder folder;
  const std::string bomb = chunk("zTXt", std::string("bomb\0\0", 6) + deflated(std::string(64 << 20, 'a')));
  const std::string path =
      folder.write("a.png", png(4, 4, rgb8, bomb + chunk("IDAT", deflated(std::string(4 * 13, '\0')))));
  EXPECT_TRUE(read_png_text(path).empty());
}

// Lengths are checked before libpng takes memory for them, which it does also past its own limit.
TEST(HostileImage, ChunksLongerThanTheFile) {
  const std::string good = png(4, 4, rgb8, chunk("IDAT", deflated(std::string(4 * 13, '\0'))));
  const std::string text = std::string("\x23\0\0\x85", 4) + "zTXt";
  for (const std::string& bytes : {std::string(good).insert(33, text + "packed"), good.substr(0, 33) + text}) {
    const std::string error = error_of(ErrorCode::input, [&] { decode_image(std::as_bytes(std::span(bytes)), "x"); });
    EXPECT_TRUE(error.find("chunks that lie within") != error.npos || error.find("an end chunk") != error.npos)
        << error;
  }
}

std::string jpeg_with(const std::string& extra) {
  return fixture("plain.jpg").insert(2, extra);
}
std::string segment(char marker, const std::string& body) {
  const size_t length = body.size() + 2;
  return std::string("\xff") + marker + static_cast<char>(length >> 8) + static_cast<char>(length) + body;
}
std::string exif_segment(const std::string& tiff) {
  return segment('\xe1', std::string("Exif\0\0", 6) + tiff);
}

// EXIF that cannot be read leaves the picture as it lies.
TEST(HostileImage, BrokenExifTurnsNothing) {
  const std::string plain = fixture("plain.jpg");
  const Image upright = decode_image(std::as_bytes(std::span(plain)), "x");
  const std::string entry("\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 12);
  const std::string header("II*\0\x08\0\0\0", 8);
  for (const std::string& tiff :
       {std::string(), std::string("II"), header, std::string("II*\0\0\0\0\0", 8) + entry,
        std::string("II*\0\xff\xff\xff\xff", 8) + entry + "xx",
        header + std::string("\xff\xff", 2) + std::string(24, '\0'),
        header + std::string("\x01\0", 2) + entry.substr(0, 9),
        header + std::string("\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0", 14),
        header + std::string("\x01\0\x12\x01\x02\0\x01\0\0\0\x06\0\0\0", 14),
        std::string("XX*\0\x08\0\0\0\x01\0", 10) + entry, std::string("II+\0\x08\0\0\0\x01\0", 10) + entry,
        std::string("MM*\0\x08\0\0\0\x01\0", 10) + entry,
        header + std::string("\0\0\x08\0\0\0", 6) + std::string(8, '\0')}) {
    const std::string bytes = jpeg_with(exif_segment(tiff));
    EXPECT_EQ(decode_image(std::as_bytes(std::span(bytes)), "x").pixels, upright.pixels) << tiff.size();
  }
  const std::string turned = jpeg_with(exif_segment(header + std::string("\x01\0", 2) + entry));
  EXPECT_EQ(decode_image(std::as_bytes(std::span(turned)), "x").width, upright.height)
      << "and one that can be read does turn it";
}

TEST(HostileImage, BrokenJpegSegments) {
  const std::string good = fixture("plain.jpg");
  const size_t frame = good.find("\xff\xc0"), codes = good.find("\xff\xc4"), steps = good.find("\xff\xdb");
  const auto with = [&](size_t at, const std::string& bytes) {
    std::string out = good;
    return out.replace(at, bytes.size(), bytes);
  };
  const std::pair<const char*, std::string> cases[] = {
      {"no width", with(frame + 7, std::string(2, '\0'))},
      {"no height", with(frame + 5, std::string(2, '\0'))},
      {"too large", with(frame + 5, "\xff\xff\xff\xff")},
      {"more than the file can hold", with(frame + 5, std::string("\x20\0\x20\0", 4))},
      {"twelve bits", with(frame + 4, "\x0c")},
      {"lossless process", with(frame + 1, "\xc3")},
      {"arithmetic process", with(frame + 1, "\xc9")},
      {"two components", with(frame + 9, "\x02")},
      {"segment of length 0", with(frame + 2, std::string(2, '\0'))},
      {"segment past the end", with(frame + 2, "\xff\xff")},
      {"sampling 0", with(frame + 11, std::string(1, '\0'))},
      {"sampling 15", with(frame + 11, "\xff")},
      {"quantisation table 9", with(frame + 12, "\x09")},
      {"no frame", with(frame + 1, "\xfe")},
      {"second frame", std::string(good).insert(good.find("\xff\xda"), good.substr(frame, 19))},
      {"no scan", good.substr(0, good.find("\xff\xda")) + "\xff\xd9"},
      {"end at once", "\xff\xd8\xff\xd9"},
      {"257 symbols in a Huffman table",
       std::string(good).insert(frame,
                                segment('\xc4', std::string(1 + 14, '\0') + "\x02\xff" + std::string(257, 's')))},
      {"more symbols than the segment", with(codes + 5, std::string(16, '\xff'))},
      {"Huffman table 9", with(codes + 4, "\x09")},
      {"a scan without its Huffman table", with(codes + 4, "\x03")},
      {"a scan without its quantisation table", with(steps + 4, "\x03")},
      {"a quantisation table that is cut off", with(steps + 4, "\x10")},
      {"a scan of a component that is not there", with(good.find("\xff\xda") + 5, "\x77")},
      {"a scan before the frame", std::string(good).insert(2, good.substr(good.find("\xff\xda")))},
      {"a zero as a marker", std::string(good).insert(good.find("\xff\xd9"), std::string("\xff\xff\0", 3))},
      {"junk between segments", std::string(good).insert(frame, "junk")},
  };
  for (const auto& [name, bytes] : cases) EXPECT_EQ(fault(bytes), "") << name;
}

TEST(HostileImage, MutationsNeverDoWorse) {
  std::mt19937 random(4);
  for (const char* name :
       {"rgb.png", "interlaced.png", "palette_alpha.png", "texts.png", "turned.png", "plain.jpg", "progressive.jpg",
        "subsampled.jpg", "grey.jpg", "turned6.jpg", "lossless.webp", "lossy.webp", "alpha.webp", "turned.webp"}) {
    const std::string good = fixture(name);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(fault_or_sound(mutate(good, random)), "") << name << " " << i;
  }
}

}  // namespace
}  // namespace heddle::testing
