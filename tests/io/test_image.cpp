// Pictures against Pillow, and PNG text chunks both ways.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "io/file.h"
#include "io/image.h"
#include "io/image_tensor.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/io/";

// Largest difference from Pillow's bytes; 1000 where the shapes differ.
int difference(const Image& image, const std::string& name) {
  static const SafetensorsFile expected(fixtures + "expected.safetensors");
  const Tensor wanted = expected.read(name);
  if (!(wanted.shape() == Shape{image.height, image.width, image.channels})) return 1000;
  const std::vector<int64_t> values = wanted.to_ids();
  int most = 0;
  for (size_t i = 0; i < values.size(); ++i)
    most = std::max(most, std::abs(static_cast<int>(values[i]) - image.pixels[i]));
  return most;
}

int difference(const std::string& file, Channels channels) {
  return difference(read_image(fixtures + file, channels), file + (channels == Channels::rgb ? ".rgb" : ".grey"));
}

TEST(Image, LosslessFilesAreAsPillowReadsThem) {
  for (const char* file : {"rgb.png", "rgba.png", "grey.png", "grey_alpha.png", "palette.png", "palette_alpha.png",
                           "bits.png", "grey2.png", "palette4.png", "interlaced.png", "rgb16.png", "key.png",
                           "turned.png", "texts.png", "lossless.webp", "alpha.webp", "turned.webp"}) {
    EXPECT_EQ(difference(file, Channels::rgb), 0) << file;
    EXPECT_EQ(difference(file, Channels::grey), 0) << file;
  }
}

TEST(Image, LossyFilesAreNearly) {
  for (const char* file : {"plain.jpg", "progressive.jpg", "grey.jpg", "turned2.jpg", "turned3.jpg", "turned4.jpg",
                           "turned5.jpg", "turned6.jpg", "turned7.jpg", "turned8.jpg", "lossy.webp"}) {
    EXPECT_LE(difference(file, Channels::rgb), 2) << file;
  }
  // Chroma is interpolated in another way.
  EXPECT_LE(difference("subsampled.jpg", Channels::rgb), 12);
}

TEST(Image, AlphaIsKeptWhereAsked) {
  const Image image = read_image(fixtures + "rgba.png", Channels::rgba);
  const Image grey = read_image(fixtures + "grey.png", Channels::grey);  // the fixture's alpha
  ASSERT_EQ(image.channels, 4);
  for (size_t i = 0; i < grey.pixels.size(); ++i) ASSERT_EQ(image.pixels[4 * i + 3], grey.pixels[i]);
  EXPECT_EQ(read_image(fixtures + "rgb.png", Channels::rgba).pixels[3], 255);
}

TEST(Image, PngRoundTrip) {
  for (const Channels channels : {Channels::grey, Channels::rgb, Channels::rgba}) {
    const Image image = read_image(fixtures + "rgba.png", channels);
    const std::string file = encode_png(image);
    EXPECT_EQ(decode_image(std::as_bytes(std::span(file)), "memory", channels).pixels, image.pixels);
  }
}

TEST(Image, PillowsTextsAreRead) {
  const PngText texts = read_png_text(fixtures + "texts.png");
  EXPECT_EQ(texts.at("parameters"), "a caf\xc3\xa9\nSteps: 2");
  EXPECT_EQ(texts.at("heddle"), "{\"prompt\": \"\xe7\x8c\xab\"}");
  EXPECT_EQ(texts.at("packed"), std::string(300, 'x'));
}

TEST(Image, TextsComeBackAsWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.png");
  const Image image = read_image(fixtures + "rgb.png");
  const PngText texts{{"parameters", "caf\xc3\xa9, \xe7\x8c\xab\nNegative prompt: x"},
                      {"heddle", "{\"a\": 1}"},
                      {"latin", "caf\xc3\xa9"},
                      {"none", ""}};
  write_png(path, image, texts);
  EXPECT_EQ(read_png_text(path), texts);
  EXPECT_EQ(read_image(path).pixels, image.pixels);
  const std::string file = read_file(path, 1 << 20);
  EXPECT_NE(file.find("iTXtparameters"), file.npos);
  EXPECT_NE(file.find(std::string("tEXtlatin\0caf\xe9", 14)), file.npos) << "Latin-1 stays where older programs look";
}

TEST(Image, NoTextIsNoText) {
  EXPECT_TRUE(read_png_text(fixtures + "rgb.png").empty());
}

TEST(Image, LanczosIsPillows) {
  const Image image = read_image(fixtures + "rgb.png");
  for (const auto& [width, height] : {std::pair(8, 8), {64, 40}, {23, 5}, {50, 17}, {1, 1}, {7, 100}}) {
    const std::string name = "resized." + std::to_string(width) + "x" + std::to_string(height);
    EXPECT_EQ(difference(resize_lanczos(image, width, height), name), 0) << name;
  }
  EXPECT_EQ(resize_lanczos(image, image.width, image.height).pixels, image.pixels);
}

TEST(Image, TensorsRoundHalfToEven) {
  const float values[] = {0.5f / 255, 1.5f / 255, 2.5f / 255, -1, 2, NAN};
  const Image image = tensor_to_images(Tensor::from(std::span<const float>(values), {1, 1, 2, 3}))[0];
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{0, 2, 2, 0, 255, 0}));
  const Image picture = read_image(fixtures + "rgb.png");
  EXPECT_EQ(tensor_to_images(image_to_tensor(picture))[0].pixels, picture.pixels);
  EXPECT_EQ(image_to_tensor(picture).shape(), (Shape{1, 17, 23, 3}));
}

}  // namespace
}  // namespace heddle::testing
