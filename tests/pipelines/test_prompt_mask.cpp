// Masks that two prompts make: against diffusers' DiffEdit (fixtures by tools/fixtures/prompt_masks.py), by hand, and
// what an edit makes of them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/image.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "kernels/ops/view.h"
#include "pipelines/outputs.h"
#include "pipelines/prompt_mask.h"
#include "tests/pipelines/joint_run.h"
#include "tests/pipelines/parity_cases.h"
#include "tests/support/refusal.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {
namespace {

using testing::joint_run;
using testing::scratch;
const std::string models = std::string(HEDDLE_FIXTURES) + "/pipelines/";
const std::string root = models + "prompt_masks/";

RunResult run(const std::string& model, const std::string& lines, const std::vector<std::string>& overrides = {},
              const RunEvents& events = {}) {
  const std::string path = scratch("prompt_mask.yaml");
  std::ofstream(path) << "heddle: 1\nmodel: " << models << model << "\ntask: edit\nsize: [16, 16]\n" << lines;
  const Preset preset = read_preset(path, overrides, {.methods = method_names()});
  Model opened(preset.model, DType::f32);
  return generate(preset, path, opened, events);
}

class PromptMaskParity : public ::testing::TestWithParam<Json> {};

TEST_P(PromptMaskParity, MasksAreTheOriginals) {
  const Json& c = GetParam();
  std::string find, targets;
  for (const char* key : {"maps", "strength", "thresholding_ratio"}) {
    if (c.has(key)) find += (find.empty() ? "" : ", ") + std::string(key) + ": " + c.node().at(key).dump();
  }
  const std::string sampler = c.node().at("sampler").is_null() ? "" : "name: " + c.get<std::string>("sampler") + ", ";
  const RunResult result =
      run(c.get<std::string>("model"),
          "seed: " + std::to_string(c.get<int64_t>("seed")) + "\nprompt: " + c.node().at("targets").dump() +
              "\nsource: {image: " + models + "source.png, prompt: " + c.get<std::string>("source") + ", find_mask: {" +
              find + "}}\nsampler: {" + sampler + "steps: " + std::to_string(c.get<int64_t>("steps")) +
              "}\ninversion: {method: ddim}\nsave_mask: mask.png\n");
  static const TensorMap expected = read_safetensors(root + "expected.safetensors");
  const Tensor& masks = expected.at(c.get<std::string>("name"));
  EXPECT_EQ(result.mask.shape(), masks.shape());
  EXPECT_EQ(result.mask.to_vector(), masks.to_vector());
}

INSTANTIATE_TEST_SUITE_P(Fixtures, PromptMaskParity, ::testing::ValuesIn(testing::parity_cases(root)),
                         testing::case_name);

TEST(PromptMask, IsWhiteAboveHalfTheRatioTimesTheMean) {
  // Two maps of two channels; sums of differences 8 and 4 in two cells, 0 elsewhere: their mean over 12 cells is 1.
  std::vector<float> target(2 * 2 * 12, 0.0f);
  for (size_t plane = 0; plane < 4; ++plane) {
    target[plane * 12 + 3] = plane % 2 == 0 ? 2.0f : -2.0f;
    target[plane * 12 + 8] = 1.0f;
  }
  const Tensor source = Tensor::zeros({2, 2, 3, 4});
  const Tensor changed = Tensor::from(std::span<const float>(target), {2, 2, 3, 4});
  const auto mask = [&](double ratio, int grow = 0) {
    return prompt_mask(source, changed, {.thresholding_ratio = ratio, .grow = grow}).to_vector();
  };
  EXPECT_EQ(mask(7.9), (std::vector<float>{0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(mask(8), (std::vector<float>{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}));  // above, not at
  EXPECT_EQ(mask(16), std::vector<float>(12, 0.0f));
  EXPECT_EQ(mask(8, 1), (std::vector<float>{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(mask(7.9, 1), (std::vector<float>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}));
  EXPECT_EQ(mask(8, 9), std::vector<float>(12, 1.0f));
  EXPECT_EQ(prompt_mask(source, source, {}).to_vector(), std::vector<float>(12, 0.0f));
}

// The latents of the picture itself, as an inversion keeps them.
Tensor clean_of(const std::string& saved) {
  const Tensor states = read_safetensors(saved).at("trajectory");
  return slice(states, 0, states.dim(0) - 1, states.dim(0));
}

struct Edit {
  std::string model, lines;
};

class FindMask : public ::testing::TestWithParam<Edit> {
 protected:
  static RunResult edited(const std::vector<std::string>& overrides) {
    const Edit& edit = GetParam();
    const bool joint = edit.model == "sd3" || edit.model == "flux";
    const std::string more = joint ? "task: edit\ntext: {max_sequence_length: 12}\n" : "";
    const std::string lines = more +
                              "prompt: a photo of two hats\nsource: {image: " + (joint ? testing::joint_root : models) +
                              "source.png, prompt: a cat}\n" + edit.lines;
    return joint ? joint_run(edit.model, lines, overrides) : run(edit.model, "seed: 3\n" + lines, overrides);
  }
};

// A mask that was found is one from a file: the run draws the same noise, and black keeps the picture's own latents.
TEST_P(FindMask, ActsAsItsPictureWould) {
  const bool flow_edit = GetParam().lines.find("flow_edit") != std::string::npos;
  const std::string mask = scratch("found.png"), saved = scratch("found.safetensors");
  std::vector<std::string> find{"source.find_mask={maps: 2, thresholding_ratio: 2}", "save_mask=" + mask};
  if (!flow_edit) find.push_back("inversion.save=" + saved);
  RunResult found = edited(find);
  const double white = std::ranges::count(found.mask.to_vector(), 1.0f),
               cells = static_cast<double>(found.mask.count());
  EXPECT_GT(white, 0);
  EXPECT_LT(white, cells);
  found.preset.output = scratch("found_picture.png");
  found.preset.save_mask = mask;
  const std::vector<std::string> paths = write_outputs(found);
  EXPECT_NE(std::ranges::find(paths, mask), paths.end());
  const RunResult read = edited({"source.mask=" + mask});
  EXPECT_EQ(found.latents.to_vector(), read.latents.to_vector());
  EXPECT_FALSE(read.mask.defined());
  if (flow_edit) return;
  const Tensor latents = GetParam().model == "flux" ? unpack_latents(found.latents, 8, 12) : found.latents;
  const std::vector<float> result = latents.to_vector(), clean = clean_of(saved).to_vector();
  const std::vector<float> kept = repeat(found.mask, 1, latents.dim(1)).to_vector();
  for (size_t i = 0; i < result.size(); ++i) EXPECT_EQ(result[i] == clean[i], kept[i] == 0) << i;
}

INSTANTIATE_TEST_SUITE_P(
    Editors, FindMask,
    ::testing::Values(Edit{"sd1", "sampler: {name: ddim, steps: 4, guidance: 3}\n"},
                      Edit{"sd3", "sampler: {name: rf2, steps: 3, guidance: 2}\nattention: [rf_edit: {}]\n"},
                      Edit{"sd3", "sampler: {name: euler, steps: 3, guidance: 2}\ninversion: {method: flow_edit}\n"},
                      Edit{"flux", "sampler: {name: fireflow, steps: 3, guidance: 2}\nattention: [rf_edit: {}]\n"}));

// Each prompt has its own mask; a source that a method holds has none and stays what it was.
TEST(FindMasks, EachPromptHasItsOwn) {
  const std::string lines =
      "sampler: {name: ddim, steps: 4, guidance: 3}\ninversion: {method: ddim}\nsource: {image: " + models +
      "source.png, prompt: a cat, find_mask: {maps: 2, thresholding_ratio: 2}}\n" + "save_mask: mask.png\n";
  const Tensor both = run("sd1", "prompt: [two hats, a red cat]\n" + lines).mask;
  for (int64_t i = 0; i < 2; ++i) {
    const RunResult alone = run("sd1", "prompt: " + std::string(i == 0 ? "two hats" : "a red cat") + "\n" + lines);
    EXPECT_EQ(slice(both, 0, i, i + 1).to_vector(), alone.mask.to_vector()) << i;
  }
  const RunResult members = run(
      "sd1", lines + "attention: [prompt_to_prompt: {source_prompt: a cat, target_prompt: a red cat, edit: refine}]\n");
  EXPECT_EQ(slice(members.mask, 0, 0, 1).to_vector(), std::vector<float>(64, 0.0f));
  EXPECT_EQ(slice(members.mask, 0, 1, 2).to_vector(), slice(both, 0, 1, 2).to_vector());
}

// Two masks of three noises beside the source's answers, four steps down and four back.
TEST(FindMasks, AndInversionAreCountedAsTheyGo) {
  int seen = 0, stop = 0;
  RunEvents events;
  events.on_step = [&](int done, int total) {
    EXPECT_EQ(done, ++seen);
    EXPECT_EQ(total, 3 * 3 + 4 + 4);
  };
  events.cancelled = [&] { return seen == stop; };
  const auto edit = [&] {
    run("sd1",
        "prompt: [two hats, a red cat]\nsource: {image: " + models +
            "source.png, prompt: a cat, find_mask: {maps: 3, thresholding_ratio: 2}}\n"
            "sampler: {name: ddim, steps: 4, guidance: 3}\ninversion: {method: ddim}\n",
        {}, events);
  };
  edit();
  EXPECT_EQ(seen, 17);
  for (const int during : {5, 11}) {  // the mask, the inversion: there is no picture yet
    seen = 0;
    stop = during;
    EXPECT_NE(testing::refusal_of(edit, "", ErrorCode::cancelled).find("nothing is written"), std::string::npos);
    EXPECT_EQ(seen, during);
  }
}

TEST(FindMasks, RefuseWhatDoesNotGoTogether) {
  const auto refusal = [](const std::string& lines, const std::vector<std::string>& overrides = {}) {
    return testing::refusal_of(
        [&] { run("sd1", "sampler: {name: ddim, steps: 4}\nprompt: two hats\n" + lines, overrides); });
  };
  const std::string source = "source: {image: " + models + "source.png, prompt: two hats";
  const auto names = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), text.npos) << text;
  };
  names(refusal(source + ", find_mask: {}}\n"),
        "[source.find_mask] wanted a prompt that the network answers otherwise");
  names(refusal(source + ", mask: m.png, find_mask: {}}\n"), "wanted mask or find_mask; got both");
  names(refusal(source + ", find_mask: {}}\n", {"task=image_to_image"}), "wanted find_mask with task edit alone");
  names(refusal(source + "}\nsave_mask: m.png\n"), "wanted source: {find_mask: {}}; got none");
  names(refusal(source + ", find_mask: {}}\nsave_mask: m.jpg\n"), "a name that ends in .png");
  names(refusal(source + ", find_mask: {strength: 0}}\n"), "strength] wanted a number, 0.001 to 1");
  names(refusal(source + ", find_mask: {strength: 0.2}}\n"), "at least one step");
  names(refusal(source + ", find_mask: {maps: 0}}\n"), "maps]");
}

}  // namespace
}  // namespace heddle
