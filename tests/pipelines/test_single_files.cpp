// Models in one file in their authors' layouts: the same pictures as their diffusers folders give, to the bit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "pipelines/component.h"
#include "pipelines/generate.h"

namespace heddle {
namespace {

const std::string fixtures = HEDDLE_FIXTURES, files = fixtures + "/checkpoints/", folders = fixtures + "/pipelines/";

std::string folder_of(const std::string& name) {
  return folders + (name == "sd3" || name == "flux" ? "joint/" : "") + name;
}

RunResult run(const std::string& lines) {
  const std::string path = ::testing::TempDir() + "heddle_single_file_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "heddle: 1\nprompt: a cat and 3 hats\nsize: [16, 16]\nseed: 3\nsampler: {steps: 2}\n" << lines;
  const Preset preset = read_preset(path, {}, {});
  const auto model = Model::of(preset, path);
  return generate(preset, path, *model, {});
}

std::string error_of(ErrorCode code, const std::string& lines) {
  try {
    run(lines);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "nothing was refused";
}

class SingleFile : public ::testing::TestWithParam<std::string> {};

TEST_P(SingleFile, GivesThePictureOfTheFolder) {
  const std::string folder = folder_of(GetParam());
  const std::vector<float> wanted = run("model: " + folder + "\n").image.to_vector();
  const std::string file = files + GetParam() + ".safetensors";
  EXPECT_EQ(run("model: " + file + "\nconfig: " + folder + "\n").image.to_vector(), wanted);
  // One part out of the file, the rest out of the folder.
  const bool joint = folder.find("joint") != std::string::npos;
  const std::string denoiser = joint ? "transformer" : "unet";
  EXPECT_EQ(run("model: " + folder + "\n" + denoiser + ": " + file + "\ntext_encoder: " + file +
                "\nvae: {file: " + file + "}\n")
                .image.to_vector(),
            wanted);
  // And the other way round: each part given as a folder.
  EXPECT_EQ(run("model: " + file + "\nconfig: " + folder + "\n" + denoiser + ": " + folder + "/" + denoiser + "\n")
                .image.to_vector(),
            wanted);
}

INSTANTIATE_TEST_SUITE_P(Families, SingleFile, ::testing::Values("sd1", "sd2", "sdxl", "sd3", "flux"),
                         [](const auto& info) { return info.param; });

TEST(SingleFiles, AGgufFileTakesTheDenoisersPlace) {
  const std::string folder = folder_of("flux"), file = fixtures + "/gguf/pipeline.gguf";
  const std::vector<float> wanted = run("model: " + folder + "\n").image.to_vector();
  EXPECT_EQ(run("model: " + folder + "\ntransformer: " + file + "\n").image.to_vector(), wanted);
  EXPECT_EQ(run("model: " + file + "\nconfig: " + folder + "\n").image.to_vector(), wanted);
}

TEST(SingleFiles, AComponentIsReadByItsPath) {
  const auto text =
      Component::load(files + "sdxl.safetensors/text_encoder_2", DType::f32, folders + "sdxl/text_encoder_2");
  const auto folder = Component::load(folders + "sdxl/text_encoder_2", DType::f32);
  const std::vector<int64_t> ids(77, 3);
  const TensorMap inputs{{"input_ids", Tensor::from(ids, {1, 77})}};
  EXPECT_EQ(text->run(inputs).at("text_embeds").to_vector(), folder->run(inputs).at("text_embeds").to_vector());
  EXPECT_THROW(Component::load(files + "sdxl.safetensors", DType::f32), Error);  // which of them?
}

TEST(SingleFiles, WhatAFileLacksIsAskedForByName) {
  const std::string sd1 = "model: " + files + "sd1.safetensors\n", flux = "model: " + files + "flux.safetensors\n";
  EXPECT_NE(error_of(ErrorCode::usage, sd1).find("a folder with tokenizer/: the vocabulary"), std::string::npos);
  EXPECT_NE(error_of(ErrorCode::usage, flux + "config: " + folders + "sd1\n").find("a folder with tokenizer_2/"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorCode::usage, sd1 + "config: nowhere\n").find("[config]"), std::string::npos);
  EXPECT_NE(error_of(ErrorCode::usage, sd1 + "config: " + folders + "sd1\ntransformer: " + folders + "sd1/unet\n")
                .find("[transformer] wanted components that StableDiffusionPipeline has"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorCode::usage, "model: nowhere.safetensors\n").find("[model]"), std::string::npos);
  EXPECT_NE(error_of(ErrorCode::usage, sd1 + "vae: {file: nowhere}\n").find("[vae]"), std::string::npos);
}

}  // namespace
}  // namespace heddle
