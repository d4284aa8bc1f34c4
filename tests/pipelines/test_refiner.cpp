// SDXL's refiner, which has the second text encoder alone and is told an aesthetic score, against diffusers
// (tools/fixtures/refiner.py): from a picture, from noise, inpainting; what it does not take.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "pipelines/generate.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

const std::string root = std::string(HEDDLE_FIXTURES) + "/pipelines/";

RunResult run(const std::string& lines, const std::string& model = "refiner") {
  const std::string path = ::testing::TempDir() + "heddle_refiner_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "heddle: 1\nmodel: " << root << model
                      << "\nprompt: \"a photo of the cat, 3 hats\"\nsize: [16, 16]\nseed: 3\n"
                         "sampler: {steps: 6, guidance: 4}\n"
                      << lines;
  const Preset preset = read_preset(path, {}, {});
  const auto opened = Model::of(preset, path);
  return generate(preset, path, *opened, {});
}

TEST(Refiner, FinalLatentsAndPictureAgreeWithDiffusers) {
  const TensorMap expected = read_safetensors(root + "refiner/expected.safetensors");
  const std::string blurry = "negative: blurry\n",
                    source = "task: image_to_image\nsource: {strength: 0.6, image: " + root + "source.png}\n";
  const std::map<std::string, std::string> cases{
      {"from_picture", blurry + source + "images: 2\n"},
      {"scores", blurry + source +
                     "sdxl: {original_size: [40, 30], crop: [3, 5], negative_original_size: [8, 9],"
                     " negative_crop: [2, 1], aesthetic_score: 7.5, negative_aesthetic_score: 1.5}\n"},
      {"no_negative", source},
      {"generate", blurry + "noise: " + root + "noise.safetensors\n"},
      {"inpaint",
       blurry + "task: inpaint\nsource: {strength: 0.6, image: " + root + "source.png, mask: " + root + "mask.png}\n"}};
  EXPECT_EQ(expected.size(), 2 * cases.size());
  for (const auto& [name, lines] : cases) {
    const RunResult result = run(lines);
    EXPECT_LE(testing::error_over_std(result.latents, expected.at(name + ".latents")), 2e-3) << name;
    EXPECT_LE(testing::error_over_std(result.image, expected.at(name + ".image")), 2e-3) << name;
  }
}

std::string refusal(const std::string& lines, const std::string& model = "refiner") {
  return testing::refusal_of([&] { run(lines, model); });
}

TEST(Refiner, SettingsOfTheOtherNetworkAreRefused) {
  const auto names = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  names(refusal("sdxl: {target_size: [16, 16]}\n"), "[sdxl.target_size] wanted none: the refiner is told a score");
  names(refusal("sdxl: {negative_target_size: [16, 16]}\n"), "[sdxl.negative_target_size]");
  names(refusal("sdxl: {aesthetic_score: 11}\n"), "a number, 0 to 10");
  names(refusal("sdxl: {aesthetic_score: 6}\n", "sdxl"), "[sdxl.aesthetic_score] wanted none");
  names(refusal("sdxl: {negative_aesthetic_score: 6}\n", "sd1"), "[sdxl.negative_aesthetic_score] wanted none");
  names(refusal("text_encoder: " + root + "sdxl/text_encoder\n"), "[text_encoder] wanted components that");
}

}  // namespace
}  // namespace heddle
