// Prompts with words learned by textual inversion: final latents against diffusers, how methods find such words,
// refusals.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "encoders/prompt.h"
#include "io/json.h"
#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "pipelines/generate.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/", files = fixtures + "textual_inversion/";

std::string scratch(const std::string& name) {
  return ::testing::TempDir() + "heddle_" + std::to_string(getpid()) + "_" + name;
}

// Paths in it are whole.
Preset preset_of(const std::string& model, const std::string& lines, std::string& path) {
  path = scratch("textual_inversion.yaml");
  std::ofstream(path) << "heddle: 1\nmodel: " << fixtures << "pipelines/" << model << "\nsize: [16, 16]\nseed: 3\n"
                      << "noise: " << files << "noise.safetensors\n"
                      << "sampler: {name: ddim, steps: 3, guidance: 4}\n"
                      << lines;
  return read_preset(path, {}, {});
}

std::unique_ptr<Model> model_of(const std::string& model, const std::string& lines) {
  std::string path;
  const Preset preset = preset_of(model, "prompt: a cat\n" + lines, path);
  return Model::of(preset, path);
}

std::string refusal(const std::string& model, const std::string& lines) {
  return testing::refusal_of([&] { model_of(model, lines); }, "nothing was refused", ErrorCode::input);
}

TEST(TextualInversion, GivesTheLatentsOfDiffusers) {
  const Json cases = Json::read(files + "cases.json");
  const TensorMap expected = read_safetensors(files + "expected.safetensors");
  ASSERT_EQ(cases.size(), 3u);
  for (size_t i = 0; i < cases.size(); ++i) {
    auto given = cases[i].node();
    for (auto& entry : given["embeddings"]) entry["file"] = files + entry["file"].get<std::string>();
    std::string path;
    const Preset preset = preset_of(given["model"],
                                    "prompt: " + given["prompt"].dump() + "\nnegative: " + given["negative"].dump() +
                                        "\nembeddings: " + given["embeddings"].dump() + "\n",
                                    path);
    const auto model = Model::of(preset, path);
    const RunResult run = generate(preset, path, *model, {});
    EXPECT_LE(testing::error_over_std(run.latents, expected.at(given["name"])), 2e-3) << given["name"];
  }
}

TEST(TextualInversion, AWordIsAllItsVectors) {
  const auto model = model_of("sd1", "embeddings: [{file: " + files + "cat.safetensors}]\n");
  const ClipTokenizer& tokenizer = model->tokenizers().front();
  const std::string prompt = "a <CAT-toy>, <cat-toy>_1";
  const std::vector<PromptChunk> chunks = chunk_prompt(tokenizer, prompt, {});
  EXPECT_EQ(positions_of(chunks, 2, 11), (std::vector<int64_t>{2, 3, 4}));
  const int64_t first = chunks[0].ids[2];
  EXPECT_EQ(chunks[0].ids[4], first + 2);
  EXPECT_EQ(chunks[0].ids[6], first + 1) << "one vector alone, by its own name";
  EXPECT_EQ(tokenizer.decode_piece(first + 1), "<cat-toy>_1");
}

TEST(TextualInversion, WhatCannotBeMeantIsRefused) {
  const auto with = [&](const std::string& name, const std::string& token = "") {
    return "embeddings: [{file: " + name + (token.empty() ? "" : ", token: \"" + token + "\"") + "}]\n";
  };
  const auto expect = [&](const std::string& model, const std::string& lines, const std::string& wanted) {
    const std::string got = refusal(model, lines);
    EXPECT_NE(got.find(wanted), std::string::npos) << "wanted " << wanted << "; got " << got;
  };
  const std::string path = scratch("vectors.safetensors");
  const auto written = [&](const TensorMap& tensors) {
    write_safetensors(path, tensors);
    return with(path);
  };
  EXPECT_EQ(refusal("sd1", with(files + "style.safetensors")), "nothing was refused");  // the word is "style"
  expect("sd1", with(files + "none.safetensors"), "none.safetensors");
  expect("sd1", with(files + "cat.safetensors", "of</w>"), "a word that the tokenizer has not");
  expect("sd1", with(files + "cat.safetensors", "two words"), "a word without spaces");
  expect("sd1", with(files + "both.safetensors"), "those of one that it has not");
  expect("sd1", written({{"<x>", Tensor::zeros({2, 13})}}), "vectors of 12; got 13");
  expect("sdxl", written({{"clip_l", Tensor::zeros({1, 16})}, {"clip_g", Tensor::zeros({1, 16})}}), "vectors of 12");
  expect("sdxl", written({{"<x>", Tensor::zeros({2, 2, 16})}}), "vectors [n,width]");
  expect("sdxl", written({{"<x>", Tensor::zeros({0, 16})}}), "vectors [n,width]");
  expect("sdxl", written({{"<x>", Tensor::zeros({5000, 16})}}), "1 to 1024 vectors");
  expect("sdxl", written({{"<x>", Tensor::full({1, 16}, std::numeric_limits<float>::infinity())}}), "finite numbers");
  expect("sd1", written({{"a", Tensor::zeros({1, 12})}, {"b", Tensor::zeros({1, 12})}}), "one tensor, or clip_l");
  expect(
      "sd1",
      "embeddings: [{file: " + files + "cat.safetensors}, {file: " + files + "style.safetensors, token: <cat-toy>}]\n",
      "a word that the tokenizer has not");
}

}  // namespace
}  // namespace heddle
