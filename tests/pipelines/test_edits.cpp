// Runs of a source and targets, and of sets: what must not change, what must be equal, what composes, names of files.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "attention_control/plugins/registry.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/generate.h"
#include "pipelines/outputs.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;
using testing::error_over_std;

const std::string folder = std::string(HEDDLE_FIXTURES) + "/methods/models/sd1";
const std::string p2p = "prompt_to_prompt: {source_prompt: a cat, target_prompt: a dog";
const std::string masa = "masactrl: {source: {prompt: a cat}, target_prompt: a dog";
const std::string style = "style_aligned: {prompts: [a cat, a dog]";

Model& model() {
  static Model opened(folder, DType::f32);
  return opened;
}

RunResult run(const std::string& more, const std::string& sampler = "ddim") {
  const std::string text = "heddle: 1\nmodel: " + folder + "\nnegative: blurry\nsize: [32, 32]\nseed: 5\n" +
                           "sampler: {name: " + sampler + ", steps: 6, guidance: 5}\n" + more;
  const Preset preset = preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()});
  return generate(preset, "test.yaml", model(), {});
}

RunResult with(const std::string& methods, const std::string& sampler = "ddim") {
  return run("attention: [ " + methods + " ]\n", sampler);
}

std::vector<float> row(const RunResult& result, int64_t i) {
  return contiguous(slice(result.latents, 0, i, i + 1)).to_vector();
}

// A method at zero strength is the plain run of its prompts, bit for bit.
TEST(Edits, ZeroStrengthIsThePlainRunBitForBit) {
  const RunResult same_noise = with(p2p + ", cross_replace: 0, self_replace: 0}");
  EXPECT_EQ(same_noise.latents.to_vector(), with(masa + ", start_step: 6}").latents.to_vector());
  const RunResult own_noise = with(style + ", share: {fraction: 0}}");
  EXPECT_EQ(own_noise.latents.to_vector(), run("prompt: [a cat, a dog]\n").latents.to_vector());
  EXPECT_EQ(row(same_noise, 0), row(own_noise, 0));
}

TEST(Edits, SourceIsUntouched) {
  const std::vector<float> alone = row(with(p2p + ", cross_replace: 0, self_replace: 0}"), 0);
  for (const std::string& method :
       {p2p + ", local_blend: {words: [cat, dog]}}", masa + ", start_step: 0, start_layer: 0}",
        masa + ", start_step: 0, variant: mask_auto, foreground_tokens: {source: cat, target: dog}}", style + "}"})
    EXPECT_EQ(row(with(method), 0), alone) << method;
}

TEST(Edits, EqualPromptsGiveEqualPictures) {
  for (const char* sampler : {"ddim", "euler_ancestral"}) {
    const RunResult p = with(
        "prompt_to_prompt: {source_prompt: a red cat, target_prompt: a red cat, cross_replace: 1, self_replace: 1}",
        sampler);
    EXPECT_LE(error_over_std(slice(p.latents, 0, 1, 2), slice(p.latents, 0, 0, 1)), 1e-4) << sampler;
    const RunResult m = with(
        "masactrl: {source: {prompt: a red cat}, target_prompt: a red cat, start_step: 0, start_layer: 0}", sampler);
    EXPECT_LE(error_over_std(slice(m.latents, 0, 1, 2), slice(m.latents, 0, 0, 1)), 1e-4) << sampler;
  }
}

// What the last blend keeps is the source's latent itself.
TEST(Edits, BlendKeepsTheSourceBitForBit) {
  const RunResult result = with(p2p + ", local_blend: {words: [cat, dog], threshold: 0.9}}");
  const std::vector<float> source = row(result, 0), target = row(result, 1);
  size_t equal = 0;
  for (size_t i = 0; i < source.size(); ++i) equal += source[i] == target[i] ? 1 : 0;
  EXPECT_GT(equal, source.size() / 2);
  EXPECT_LT(equal, source.size());
}

TEST(Edits, SeveralTargetsAreEachAsIfAlone) {
  const RunResult two = with("prompt_to_prompt: {source_prompt: a cat, target_prompt: [a dog, a hat]}");
  EXPECT_EQ(two.members, (std::vector<std::string>{"source", "target", "target2"}));
  const RunResult one = with("prompt_to_prompt: {source_prompt: a cat, target_prompt: a hat}");
  EXPECT_LE(error_over_std(slice(two.latents, 0, 2, 3), slice(one.latents, 0, 1, 2)), 1e-4);
}

TEST(Edits, StoredMapsMatterToTheBlend) {
  const std::string blend = ", local_blend: {words: [cat, dog], threshold: 0.6, store: ";
  EXPECT_NE(with(p2p + blend + "before}}").latents.to_vector(), with(p2p + blend + "after}}").latents.to_vector());
}

// T-GATE behind the last edit and Attend-and-Excite beside an edit change what they change alone, and nothing fails.
TEST(Edits, ComposeWithGatesAndGuides) {
  const std::string gate = "tgate: {gate_step: 5, sp_interval: 1}";
  const std::string excite = "attend_and_excite: {subject_tokens: [a], attention_res: 8, scale: 2}";
  for (const std::string& method : {p2p + ", cross_replace: 0.6}", masa + ", start_step: 1}", style + "}",
                                    style + ", share: {group_norm: true}}"}) {
    const Tensor alone = with(method).latents;
    for (const std::string& other : {gate, excite}) {
      const RunResult both = with(method + ", " + other);
      EXPECT_GT(error_over_std(both.latents, alone), 1e-3) << method << " with " << other;
      EXPECT_EQ(with(other + ", " + method).latents.to_vector(), both.latents.to_vector())
          << method << " after " << other;
    }
  }
}

TEST(Edits, PromptToPromptAndMasaCtrlShareASource) {
  const RunResult both = with(p2p + ", self_replace: 0}, " + masa + ", start_step: 2}");
  EXPECT_EQ(both.members, (std::vector<std::string>{"source", "target"}));
  EXPECT_GT(error_over_std(both.latents, with(p2p + ", self_replace: 0}").latents), 1e-3);
}

std::string refusal(const std::string& methods) {
  return testing::refusal_of([&] { with(methods); }, "");
}

TEST(Edits, ContradictionsAreRefusedWithAReason) {
  // Both want the keys of self-attention in the same steps.
  EXPECT_NE(refusal(p2p + ", self_replace: 1}, " + masa + ", start_step: 0, start_layer: 0}").find("take k"),
            std::string::npos);
  // Edits of cross-attention behind the gate would silently do nothing.
  EXPECT_NE(refusal(p2p + ", cross_replace: 1}, tgate: {gate_step: 3, sp_interval: 1}").find("reuse"),
            std::string::npos);
  EXPECT_NE(refusal(masa + "}, " + style + "}").find("prompts"), std::string::npos);
  EXPECT_NE(refusal("masactrl: {source: {prompt: a cat, seed: 6}, target_prompt: a dog}").find("seed"),
            std::string::npos);
  EXPECT_NE(refusal("prompt_to_prompt: {source_prompt: a cat, target_prompt: a big dog}").find("refine"),
            std::string::npos);
}

TEST(Edits, FilesAreNamedByTheirMembers) {
  const fs::path out = fs::path(::testing::TempDir()) / "heddle_edits";
  fs::create_directories(out);
  const auto names = [&](const std::vector<std::string>& members, int64_t rows) {
    RunResult result;
    result.preset.output = (out / "cat.png").string();
    result.preset.prompt.values = {"a cat"};
    result.members = members;
    result.image = Tensor::zeros({rows, 3, 8, 8});
    std::vector<std::string> found;
    for (const std::string& path : write_outputs(result)) found.push_back(fs::path(path).filename().string());
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names({}, 1), (Names{"cat.png"}));
  EXPECT_EQ(names({}, 2), (Names{"cat-0.png", "cat-1.png"}));
  EXPECT_EQ(names({"image0", "image1"}, 2), (Names{"cat-0.png", "cat-1.png"}));
  EXPECT_EQ(names({"source", "target", "target2"}, 3), (Names{"cat-source.png", "cat.png", "cat-target2.png"}));
  EXPECT_EQ(names({"source", "target"}, 4), (Names{"cat-source-0.png", "cat-source-1.png", "cat-0.png", "cat-1.png"}));
  fs::remove_all(out);
}

}  // namespace
}  // namespace heddle
