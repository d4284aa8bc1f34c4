// Presets as design pages and users write them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/preset_file.h"
#include "samplers/scheduler_config.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

const std::string head = "heddle: 1\nmodel: emoji-unet\nprompt: a cat\n";

Preset read(const std::string& yaml, const PresetChoices& choices = {}) {
  return preset_from_yaml(parse_yaml(yaml, "p.yaml"), choices);
}
std::string why(const std::string& yaml) {
  return error_of(ErrorCode::usage, [&] { read(yaml); });
}

const char* const everything = R"(
heddle: 1
model: models/sdxl
task: inpaint
prompt: ["a cat", "a dog"]
negative: "blurry, \"bad\""
size: [1024, 768]
seed: 9007199254740993
rng: torch-cuda
images: 2
sampler: {name: dpmpp_2m_sde, steps: 30, guidance: 5, guidance_rescale: 0.7, guidance_interval: [0.1, 0.8], eta: 0.5, use_karras_sigmas: true,
          timestep_spacing: trailing, beta_start: 0.00085, trained_betas: [0.1, 0.2], disable_corrector: [0, 1],
          true_guidance: 1.5, skip_layer_guidance: {layers: [7, 8], scale: 3}}
source: {image: in.jpg, mask: mask.png, strength: 0.6}
text: {long_prompts: chunks, weights: a1111, clip_skip: 1, max_sequence_length: 128}
sdxl: {original_size: [512, 512], crop: [0, 16], target_size: [1024, 768], negative_crop: [1, 2]}
vae: {tiling: on}
preview: {every: 2, file: look.png}
dtype: bf16
threads: 2
memory_budget: 4GiB
noise: noise.safetensors
save_latents: l.safetensors
save_image_tensor: i.safetensors
output: out/cat.png
)";

TEST(Preset, EveryKeyBinds) {
  const Preset p = read(everything);
  EXPECT_EQ(p.task, Task::inpaint);
  EXPECT_EQ(p.prompt.values.size(), 2u);
  EXPECT_EQ(p.negative.values[0], "blurry, \"bad\"");
  EXPECT_EQ(*p.size, (WidthHeight{1024, 768}));
  EXPECT_EQ(p.seed, 9007199254740993);
  EXPECT_EQ(p.rng, Rng::torch_cuda);
  EXPECT_EQ(p.sampler.name, "dpmpp_2m_sde");
  EXPECT_EQ(p.sampler.steps, 30);
  EXPECT_EQ(p.sampler.guidance_rescale, 0.7);
  EXPECT_EQ(p.sampler.guidance_interval, (std::array{0.1, 0.8}));
  EXPECT_EQ(p.source->strength, 0.6);
  EXPECT_EQ(p.text.clip_skip, 1);
  EXPECT_EQ(p.text.max_sequence_length, 128);
  EXPECT_EQ(p.sampler.true_guidance, 1.5);
  EXPECT_EQ(p.sampler.skip_layer_guidance->layers, (std::vector<int>{7, 8}));
  EXPECT_EQ(p.sampler.skip_layer_guidance->stop, 0.2);
  EXPECT_EQ(*p.sdxl.crop, (WidthHeight{0, 16}));
  EXPECT_FALSE(p.sdxl.negative_target_size.has_value());
  EXPECT_EQ(p.vae.tiling, Tiling::on);
  EXPECT_EQ(p.preview->every, 2);
  EXPECT_EQ(p.dtype, Precision::bf16);
  EXPECT_EQ(p.memory_budget->bytes, int64_t{4} << 30);
  const Json over = scheduler_overrides(p.sampler);
  EXPECT_EQ(over.keys().size(), 5u);
  EXPECT_TRUE(over.get<bool>("use_karras_sigmas"));
  EXPECT_EQ(over.get<std::vector<double>>("trained_betas"), (std::vector<double>{0.1, 0.2}));
}

TEST(Preset, KeysOfFlowModelsBind) {
  const Preset p = read(head + R"(sampler: {name: rf2, steps: 3, sigmas: [1, 0.5, 0.25], shift: 3, flow_shift: 2,
  use_dynamic_shifting: true, base_shift: 0.4, max_shift: 1.2, base_image_seq_len: 64, max_image_seq_len: 1024,
  time_shift_type: linear, shift_terminal: 0.1, use_flow_sigmas: true, invert_sigmas: false,
  stochastic_sampling: false, prediction_type: flow_prediction}
)");
  EXPECT_EQ(p.sampler.sigmas, (std::vector<double>{1, 0.5, 0.25}));
  const Json over = scheduler_overrides(p.sampler);
  EXPECT_EQ(over.keys().size(), 13u);
  EXPECT_EQ(over.get<int64_t>("max_image_seq_len"), 1024);
  EXPECT_EQ(over.get<double>("shift_terminal"), 0.1);
  // The keys are those of the file: laid over one, they make its schedule.
  const SchedulerConfig config =
      parse_scheduler_config(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})", "test", over.node(), "rf2");
  EXPECT_TRUE(config.flow && config.flow_shift.dynamic && config.flow_shift.linear);
  EXPECT_EQ(config.flow_shift.max_tokens, 1024);
  EXPECT_EQ(why(head + "sampler: {shift: 0}\n").substr(0, 33), "[p.yaml:4 sampler.shift] wanted a");
}

TEST(Preset, DefaultsAreThoseOfTheStruct) {
  const Preset p = read(head);
  EXPECT_EQ(p.task, Task::generate);
  EXPECT_EQ(p.images, 1);
  EXPECT_FALSE(p.size || p.sampler.name || p.sampler.steps || p.source || p.preview || p.memory_budget);
  EXPECT_EQ(p.output, "output.png");
  EXPECT_TRUE(scheduler_overrides(p.sampler).keys().empty());
}

TEST(Preset, JsonReproducesIt) {
  const std::string json = preset_to_json(read(everything));
  EXPECT_EQ(preset_to_json(preset_from_json(json, "cat.png", {})), json);
  const auto parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed["seed"], 9007199254740993);
  EXPECT_EQ(parsed["sampler"]["beta_start"], 0.00085);
  EXPECT_EQ(parsed["memory_budget"], int64_t{4} << 30);
  EXPECT_FALSE(parsed["sdxl"].contains("negative_target_size"));
}

TEST(Preset, SetOverridesTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder.write("p.yaml", head + "sampler: {steps: 30}\n");
  const Preset p =
      read_preset(path, {"sampler.steps=10", "prompt=two dogs", "size=[64, 32]", "sampler.use_karras_sigmas=true"}, {});
  EXPECT_EQ(p.sampler.steps, 10);
  EXPECT_EQ(p.prompt.values[0], "two dogs");
  EXPECT_EQ(*p.size, (WidthHeight{64, 32}));
  EXPECT_EQ(error_of(ErrorCode::usage, [&] { read_preset(path, {"sampler.step=10"}, {}); }),
            "[--set sampler.step] wanted a known key; got \"step\"; try \"steps\"");
  EXPECT_EQ(error_of(ErrorCode::usage, [&] { read_preset(path, {"sampler.steps=many"}, {}); }),
            "[--set sampler.steps] wanted a whole number, 1 to 1000; got \"many\"");
}

TEST(Preset, FaultsNameLineAndNearestKey) {
  EXPECT_EQ(why(head + "sampler:\n  stepz: 3\n"),
            "[p.yaml:5 sampler.stepz] wanted a known key; got \"stepz\"; try \"steps\"");
  EXPECT_EQ(why(head + "promt: x\n"), "[p.yaml:4 promt] wanted a known key; got \"promt\"; try \"prompt\"");
  EXPECT_EQ(why(head + "task: video\n"),
            "[p.yaml:4 task] wanted generate | image_to_image | inpaint | edit; got \"video\"");
  EXPECT_EQ(why(head + "task: inpant\n"),
            "[p.yaml:4 task] wanted generate | image_to_image | inpaint | edit; got \"inpant\"; try \"inpaint\"");
  EXPECT_EQ(why(head + "sampler: {name: eular}\n").substr(0, 60),
            "[p.yaml:4 sampler.name] wanted ddim | ddpm | pndm | lms | eu");
  EXPECT_EQ(why("heddle: 2\nmodel: x\n"), "[p.yaml:1 heddle] wanted a whole number, 1; got \"2\"");
  EXPECT_EQ(why("heddle: 1\nprompt: x\n").substr(0, 33), "[p.yaml:1] wanted the key \"model\"");
  EXPECT_EQ(why("heddle: 1\nmodel: x\n"), "[p.yaml:1] wanted the key \"prompt\"; got none");
  EXPECT_EQ(why(head + "size: [0, 64]\n"), "[p.yaml:4 size[0]] wanted a whole number, 8 to 16384; got \"0\"");
  EXPECT_EQ(why(head + "negative: [a, b]\n"), "[p.yaml:4 negative] wanted one negative prompt, or 1; got 2");
  EXPECT_EQ(why(head + "output: cat.jpg\n"), "[p.yaml:4 output] wanted a name that ends in .png; got \"cat.jpg\"");
}

TEST(Preset, EverySamplerHasAName) {
  std::string known;
  for (const std::string& name : sampler_names()) {
    EXPECT_EQ(read(head + "sampler: {name: " + name + "}\n").sampler.name, name);
    known += (known.empty() ? "" : " | ") + name;
  }
  EXPECT_EQ(why(head + "sampler: {name: x}\n"), "[p.yaml:4 sampler.name] wanted " + known + "; got \"x\"");
}

TEST(Preset, SourceAndTaskBelongTogether) {
  EXPECT_EQ(why(head + "source: {image: a.png}\n"),
            "[p.yaml:4 source] wanted no source with task generate; got one; try task: image_to_image");
  EXPECT_EQ(why(head + "task: image_to_image\n"),
            "[p.yaml:4 task] wanted source: {image: ...} with this task; got none");
  EXPECT_EQ(why(head + "task: inpaint\nsource: {image: a.png}\n"),
            "[p.yaml:5 source] wanted a mask with task inpaint; got none");
  EXPECT_EQ(read(head + "task: image_to_image\nsource: {image: a.png}\n").source->image, "a.png");
}

TEST(Preset, AnUnknownMethodIsRefused) {
  const std::string yaml = head + "attention:\n  - tgate: {gate_step: .5}\n";
  EXPECT_EQ(why(yaml), "[p.yaml:5 attention[0].tgate] wanted an attention method (none in this build); got \"tgate\"");
  EXPECT_EQ(error_of(ErrorCode::usage,
                     [&] {
                       read(yaml, {{"tgat", "pag"}});
                     }),
            "[p.yaml:5 attention[0].tgate] wanted an attention method (tgat | pag); got \"tgate\"; try tgat");
  const Preset p = read(yaml, {{"tgate"}});
  EXPECT_EQ(p.attention[0].name, "tgate");
  EXPECT_NE(preset_to_json(p).find(R"("attention":[{"tgate":{"gate_step":0.5}}])"), std::string::npos);
  EXPECT_EQ(why(head + "attention:\n  - {a: 1, b: 2}\n"),
            "[p.yaml:5 attention[0]] wanted one method and its parameters; got a map");
}

TEST(Preset, A1111Text) {
  Preset p = read(everything);
  EXPECT_EQ(
      a1111_parameters(p, 3),
      "a dog\nNegative prompt: blurry, \"bad\"\n"
      "Steps: 30, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 5, Seed: 9007199254740993, Size: 1024x768, "
      "Model: sdxl, Denoising strength: 0.6, Clip skip: 2, Eta: 0.5, Version: heddle");
  p.model = "models/a, b";
  EXPECT_NE(a1111_parameters(p, 0).find("Model: \"a, b\""), std::string::npos);
}

TEST(Preset, ThePageOfKeysIsMadeFromTheDeclaration) {
  const std::string path = std::string(HEDDLE_SOURCE_DIR) + "/docs/presets.md";
  const std::string page = read_file(path, 1 << 20);
  const std::string begin = "<!-- keys -->\n", end = "<!-- end of keys -->";
  const size_t from = page.find(begin), to = page.find(end);
  ASSERT_TRUE(from != page.npos && to != page.npos);
  const std::string table = params_table(Preset::params().describe());
  if (std::getenv("HEDDLE_UPDATE_DOCS") != nullptr) {
    write_file(path, page.substr(0, from) + begin + table + page.substr(to));
  } else {
    EXPECT_EQ(page.substr(from + begin.size(), to - from - begin.size()), table)
        << "docs/presets.md lags behind io/preset_params.cpp: run this test with HEDDLE_UPDATE_DOCS=1";
  }
}

}  // namespace
}  // namespace heddle::testing
