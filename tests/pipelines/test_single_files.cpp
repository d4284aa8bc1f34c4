// Models in one file in their authors' layouts: the same pictures as their diffusers folders give, to the bit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/component.h"
#include "pipelines/generate.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

const std::string fixtures = HEDDLE_FIXTURES, files = fixtures + "/checkpoints/", folders = fixtures + "/pipelines/";

std::string folder_of(const std::string& name) {
  return folders + (name == "sd3" || name == "flux" ? "joint/" : "") + name;
}

// The folder's tokenizers and configurations alone.
std::string without_schedule(const std::string& name) {
  namespace fs = std::filesystem;
  const fs::path out = fs::path(::testing::TempDir()) / ("heddle_config_" + std::to_string(getpid()) + name);
  fs::create_directories(out);
  for (const auto& entry : fs::directory_iterator(folder_of(name))) {
    const fs::path link = out / entry.path().filename();
    if (entry.is_directory() && entry.path().filename() != "scheduler" && !fs::exists(link))
      fs::create_directory_symlink(entry.path(), link);
  }
  return out.string();
}

RunResult run(const std::string& lines, const std::vector<std::string>& overrides = {}) {
  const std::string path = ::testing::TempDir() + "heddle_single_file_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "heddle: 1\nprompt: a cat and 3 hats\nsize: [16, 16]\nseed: 3\nsampler: {steps: 2}\n" << lines;
  const Preset preset = read_preset(path, overrides, {});
  const auto model = Model::of(preset, path);
  return generate(preset, path, *model, {});
}

std::string error_of(ErrorCode code, const std::string& lines) {
  return testing::refusal_of([&] { run(lines); }, "nothing was refused", code);
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
  const std::string encoder = GetParam() == "refiner" ? "text_encoder_2" : "text_encoder";
  EXPECT_EQ(run("model: " + folder + "\n" + denoiser + ": " + file + "\n" + encoder + ": " + file +
                "\nvae: {file: " + file + "}\n")
                .image.to_vector(),
            wanted);
  // And the other way round: each part given as a folder.
  EXPECT_EQ(run("model: " + file + "\nconfig: " + folder + "\n" + denoiser + ": " + folder + "/" + denoiser + "\n")
                .image.to_vector(),
            wanted);
}

INSTANTIATE_TEST_SUITE_P(Families, SingleFile, ::testing::Values("sd1", "sd2", "sdxl", "refiner", "sd3", "flux"),
                         [](const auto& info) { return info.param; });

// The schedule of a file without config: is that of the published model, of which other samplers are made, too.
TEST(SingleFiles, AnotherSamplerOfThePublishedScheduleDoesNotClip) {
  for (const std::string name : {"sd1", "sdxl"}) {
    const std::string config = without_schedule(name);
    const std::string model = "model: " + files + name + ".safetensors\nconfig: " + config + "\n";
    const std::vector<std::string> ddim{"sampler.name=ddim"},
        stated{"sampler.name=ddim", "sampler.clip_sample=false", "sampler.set_alpha_to_one=false"};
    EXPECT_EQ(run(model, ddim).image.to_vector(), run(model, stated).image.to_vector()) << name;
    std::filesystem::remove_all(config);  // links alone
  }
}

// What ComfyUI and training leave beside the weights: scales count, the rest does not.
TEST(SingleFiles, ScalesCountAndLeftoversDoNot) {
  const std::string folder = folder_of("flux"),
                    path = ::testing::TempDir() + "heddle_scaled_" + std::to_string(getpid()) + ".safetensors";
  TensorMap tensors = read_safetensors(files + "flux.safetensors"), more;
  for (auto& [name, tensor] : tensors) {
    const std::string weight = ".weight";
    if (!name.ends_with(weight) || tensor.rank() != 2) continue;
    const std::string layer = name.substr(0, name.size() - weight.size());
    const bool t5 = name.starts_with("text_encoders.t5xxl");
    const Tensor factor = Tensor::full(t5 ? Shape{1} : Shape{}, 4);
    more[layer + (t5 ? ".weight_scale" : ".scale_weight")] = factor;
    more[layer + (t5 ? ".input_scale" : ".scale_input")] = factor;
    tensor = scale(to(tensor, DType::f32), 0.25);  // exact
  }
  more["model.diffusion_model.scaled_fp8"] = Tensor::zeros({2});
  more["vae.loss.logvar"] = more["vae.model_ema.decay"] = Tensor::zeros({1});
  tensors.merge(more);
  write_safetensors(path, tensors);
  EXPECT_EQ(run("model: " + path + "\nconfig: " + folder + "\n").image.to_vector(),
            run("model: " + folder + "\n").image.to_vector());
  tensors["model.diffusion_model.img_in.scale_weight"] = Tensor::zeros({3});
  write_safetensors(path, tensors);
  EXPECT_EQ(error_of(ErrorCode::input, "model: " + path + "\nconfig: " + folder + "\n"),
            "[" + path + " model.diffusion_model.img_in.scale_weight] wanted one scale for a matrix; got [3]; try a " +
                "file of bf16 or GGUF");
  std::filesystem::remove(path);
}

// Parts of another model, out of its file as out of its folder, are what the run uses.
TEST(SingleFiles, PartsFromElsewhereCount) {
  const std::string model = "model: " + folder_of("sd1") + "\n", file = files + "sd2.safetensors",
                    other = folder_of("sd2");
  const std::vector<float> plain = run(model).image.to_vector();
  for (const auto& [in_file, in_folder] :
       {std::pair("vae: {file: " + file + "}\n", "vae: {file: " + other + "/vae}\n"),
        std::pair("text_encoder: " + file + "\n", "text_encoder: " + other + "/text_encoder\n")}) {
    const std::vector<float> wanted = run(model + in_folder).image.to_vector();
    EXPECT_NE(wanted, plain) << in_folder;
    EXPECT_EQ(run(model + in_file).image.to_vector(), wanted) << in_file;
  }
}

TEST(SingleFiles, AGgufFileTakesTheDenoisersPlace) {
  const std::string folder = folder_of("flux"), file = fixtures + "/gguf/pipeline.gguf";
  const std::vector<float> wanted = run("model: " + folder + "\n").image.to_vector();
  EXPECT_EQ(run("model: " + folder + "\ntransformer: " + file + "\n").image.to_vector(), wanted);
  EXPECT_EQ(run("model: " + file + "\nconfig: " + folder + "\n").image.to_vector(), wanted);
}

TEST(SingleFiles, AGgufFileTakesT5sPlace) {
  const std::string folder = folder_of("sd3"), file = fixtures + "/gguf/pipeline_t5.gguf";
  const std::vector<float> wanted = run("model: " + folder + "\n").image.to_vector();
  EXPECT_EQ(run("model: " + folder + "\ntext_encoder_3: " + file + "\n").image.to_vector(), wanted);
  EXPECT_EQ(run("model: " + files + "sd3.safetensors\nconfig: " + folder + "\ntext_encoder_3: " + file + "\n")
                .image.to_vector(),
            wanted);
  EXPECT_NE(error_of(ErrorCode::usage, "model: " + folder_of("sd1") + "\ntext_encoder_3: " + file + "\n")
                .find("[text_encoder_3] wanted components that StableDiffusionPipeline has"),
            std::string::npos);
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
