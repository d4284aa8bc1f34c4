// Broken presets: every one is a usage error of one line, whatever its bytes.
#include <gtest/gtest.h>

#include "io/preset_file.h"
#include "tests/io/hostile.h"

namespace heddle::testing {
namespace {

const std::string head = "heddle: 1\nmodel: m\nprompt: p\n";

std::string repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::string nested_maps(int depth) {
  std::string out = head + "attention:\n  - a:\n";
  for (int i = 0; i < depth; ++i) out += std::string(static_cast<size_t>(i) + 6, ' ') + "k:\n";
  return out;
}

// Ten anchors, each a list of ten of the one before: 10^10 values in half a kilobyte.
std::string laughs() {
  std::string out = head + "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    out += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + repeat(", " + before, 9) + "]\n";
  }
  return out;
}

std::vector<std::string> broken_yaml() {
  return {
      "",
      "\n\n",
      "# nothing\n",
      "null\n",
      "3\n",
      "words\n",
      "- a\n- b\n",
      "[1, 2]\n",
      "{}",
      "{a",
      "}",
      "]",
      ":",
      "- -",
      "? ",
      "%",
      "%YAML 9.9\n---\na: 1\n",
      "%TAG ! tag:x,2000:\n---\na: !x 1\n",
      "\xff\xfe"
      "h\0e\0",
      std::string("\0\0\0h", 4),
      "\xfe\xff",
      std::string(100, '\0'),
      "\x7f"
      "ELF",
      "\x89PNG\r\n\x1a\n",
      "PK\3\4",
      "\x1f\x8b\x08",
      head + "heddle: 1\n",
      head + "\theddle: 1\n",
      head + "seed: &a 1\nimages: *a\n",
      head + "seed: *missing\n",
      head + "a: &a [*a]\n",
      head + "a: &a {b: *a}\n",
      head + "<<: *x\n",
      head + "<<: {seed: 1}\n",
      laughs(),
      head + "seed: !!int 3\n",
      head + "seed: !!python/object:os.system [x]\n",
      head + "seed: !local 3\n",
      head + "---\n" + head,
      head + "...\n---\na: 1\n",
      head + "prompt: 'open\n",
      head + "negative: \"open\n",
      head + "negative: \"\\q\"\n",
      head + "negative: \"\\xZZ\"\n",
      head + "negative: \"\\uD800\"\n",
      head + "negative: \"\\U00110000\"\n",
      head + "size: [1, 2\n",
      head + "sampler: {steps: 3\n",
      head + "sampler: {steps: 3]\n",
      head + "sampler: {{steps: 3}: 4}\n",
      head + "[a, b]: c\n",
      head + "? {a: b}\n: c\n",
      head + "~: c\n",
      head + "'': c\n",
      head + "sampler:\n steps: 3\n   eta: 1\n",
      head + "  seed: 1\n",
      head + "seed: 1\n seed2: 2\n",
      head + "negative: |99\n x\n",
      head + "negative: >q\n x\n",
      head + "negative: @x\n",
      head + "negative: `x\n",
      head + "negative: a: b: c\n",
      head + "negative: \xc3\x28\n",
      head + "negative: \xed\xa0\x80\n",
      head + "negative: \xf4\x90\x80\x80\n",
      head + "negative: \xc0\xaf\n",
      head + "negative: a\x01z\n",
      head + "negative: a\x1bz\n",
      head + "x: " + std::string(65, '[') + std::string(65, ']') + "\n",
      head + "x: " + std::string(10000, '[') + "\n",
      head + "x: " + repeat("{a: ", 10000) + "\n",
      head + repeat("- ", 10000) + "\n",
      repeat("- ", 10000) + "\n",
      repeat("? ", 10000) + "\n",
      repeat("a: ", 10000) + "\n",
      std::string(10000, '{'),
      std::string(10000, '\''),
      std::string(9999, '"'),
      std::string(10000, '&'),
      std::string(10000, '*'),
      std::string(10000, '!'),
      std::string(10000, '|'),
      std::string(10000, '-'),
      std::string(10000, ' ') + "a",
      nested_maps(70),
      head + "x: [" + repeat("1,", 30000) + "1]\n",
      head + "x: " + std::string(1 << 20, 'x') + "\n",
      std::string(2 << 20, 'x'),
      head + std::string(100000, 'k') + ": 1\n",
      head + "sampler: {" + std::string(100000, 'k') + ": 1}\n",
      "heddle: 1\nheddle: 1\n",
      "heddle: one\nmodel: m\nprompt: p\n",
      "heddle: 1.0\nmodel: m\nprompt: p\n",
      "heddle: -1\nmodel: m\nprompt: p\n",
      "heddle: 99999999999999999999\nmodel: m\nprompt: p\n",
      "heddle: [1]\nmodel: m\nprompt: p\n",
      "heddle: 1\nmodel: ''\nprompt: p\n",
      "heddle: 1\nmodel: [m]\nprompt: p\n",
      "heddle: 1\nmodel: m\nprompt: {a: b}\n",
      "heddle: 1\nmodel: m\nprompt: []\n",
      "heddle: 1\nmodel: m\nprompt: [[a]]\n",
      "heddle: 1\nmodel: m\nprompt: [a, null]\n",
      "heddle: 1\nmodel: m\nprompt: null\n",
      head + "task: ''\n",
      head + "task: [generate]\n",
      head + "task: edit\n",
      head + "size: 512\n",
      head + "size: [512]\n",
      head + "size: [1, 2, 3]\n",
      head + "size: [512, -512]\n",
      head + "size: [512, 99999]\n",
      head + "size: {w: 1}\n",
      head + "size: [a, b]\n",
      head + "size: [512.5, 512]\n",
      head + "size: [1e3, 512]\n",
      head + "seed: -1\n",
      head + "seed: 9223372036854775808\n",
      head + "seed: 0x10\n",
      head + "seed: 1e3\n",
      head + "seed: '1'\n",
      head + "seed: ''\n",
      head + "images: 0\n",
      head + "images: 1000000000\n",
      head + "threads: -2\n",
      head + "threads: 1000000\n",
      head + "dtype: f16\n",
      head + "dtype: 32\n",
      head + "rng: numpy\n",
      head + "memory_budget: -1\n",
      head + "memory_budget: 4 parsecs\n",
      head + "memory_budget: 99999999TiB\n",
      head + "memory_budget: GiB\n",
      head + "memory_budget: 1.5\n",
      head + "memory_budget: [1]\n",
      head + "sampler: ddim\n",
      head + "sampler: [ddim]\n",
      head + "sampler: {name: k_euler}\n",
      head + "sampler: {steps: 0}\n",
      head + "sampler: {steps: 1000000000}\n",
      head + "sampler: {guidance: .nan}\n",
      head + "sampler: {guidance: .inf}\n",
      head + "sampler: {guidance: 1e999}\n",
      head + "sampler: {guidance: inf}\n",
      head + "sampler: {guidance: }x\n",
      head + "sampler: {eta: 2}\n",
      head + "sampler: {eta: -0.1}\n",
      head + "sampler: {use_karras_sigmas: yes}\n",
      head + "sampler: {use_karras_sigmas: 1}\n",
      head + "sampler: {trained_betas: 0.1}\n",
      head + "sampler: {trained_betas: [2]}\n",
      head + "sampler: {beta_schedule: cosine}\n",
      head + "sampler: {steps: 3, steps: 4}\n",
      head + "attention: pag\n",
      head + "attention: [pag]\n",
      head + "attention: {pag: {}}\n",
      head + "attention: [{}]\n",
      head + "attention: [{a: 1, b: 2}]\n",
      head + "attention: [{pag: {}}]\n",
      head + "attention: [null]\n",
      head + "source: a.png\n",
      head + "source: {image: a.png}\n",
      head + "task: inpaint\n",
      head + "task: inpaint\nsource: {image: a}\n",
      head + "task: image_to_image\nsource: {}\n",
      head + "task: image_to_image\nsource: {image: a, mask: b}\n",
      head + "task: image_to_image\nsource: {image: a, strength: 1.5}\n",
      head + "text: on\n",
      head + "text: {clip_skip: 99}\n",
      head + "text: {weights: compel}\n",
      head + "sdxl: {crop: [0]}\n",
      head + "sdxl: {crop: [-1, 0]}\n",
      head + "vae: {tiling: maybe}\n",
      head + "preview: {every: 0}\n",
      head + "preview: {file: a.gif}\n",
      head + "preview: true\n",
      head + "output: ''\n",
      head + "output: a.exe\n",
      head + "output: [a.png]\n",
      head + "save_latents: a.png\n",
      head + "save_image_tensor: a\n",
      head + "noise: [a]\n",
  };
}

TEST(HostilePreset, EachIsOneError) {
  const TemporaryFolder folder;
  const auto files = broken_yaml();
  for (const std::string& text : files) {
    // A file past the limit of size is not read at all.
    const ErrorCode code = text.size() > (1 << 20) ? ErrorCode::input : ErrorCode::usage;
    const std::string path = folder.write("p.yaml", text);
    EXPECT_EQ(fault_of(code, [&] { read_preset(path, {}, {}); }), "") << text.substr(0, 200);
  }
  EXPECT_GE(files.size(), 170u);
}

TEST(HostilePreset, OverridesToo) {
  const TemporaryFolder folder;
  const std::string path = folder.write("p.yaml", head);
  for (const std::string text : {"",
                                 "=",
                                 "a",
                                 "a=",
                                 "=1",
                                 "a.=1",
                                 ".a=1",
                                 "a..b=1",
                                 "prompt.x=1",
                                 "size.0=1",
                                 "size=[1",
                                 "size={",
                                 "seed='1",
                                 "seed=*a",
                                 "seed=[1]",
                                 "sampler=1",
                                 "sampler.steps.x=1",
                                 "attention=[{x: {}}]",
                                 "prompt=null",
                                 "model="}) {
    EXPECT_EQ(fault_of(ErrorCode::usage, [&] { read_preset(path, {text}, {}); }), "") << text;
  }
  const std::string deep = repeat("a.", 5000) + "a=1";
  EXPECT_EQ(fault_of(ErrorCode::usage, [&] { read_preset(path, {deep}, {}); }), "");
  EXPECT_EQ(fault_of(ErrorCode::input, [&] { read_preset(folder.path("none"), {}, {}); }), "");
  EXPECT_EQ(fault_of(ErrorCode::input, [&] { read_preset(folder.root(), {}, {}); }), "");
}

TEST(HostilePreset, MutationsNeverDoWorse) {
  const std::string good =
      head +
      "negative: [\"a\\tb\", 'c''d', >-\n  e\n  f\n  ]\nsize: [64, 32]\nsampler: {name: ddim, steps: 3, guidance: "
      "1.5}\n"
      "attention:\n  - tgate: {gate_step: 3, list: [1, {a: b}]}\ntext:\n  weights: a1111\nnoise: |\n  x\n  y\n";
  std::mt19937 random(3);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = mutate(good, random);
    ASSERT_EQ(fault_unless_sound(ErrorCode::usage, [&] { preset_from_yaml(parse_yaml(text, "p"), {{"tgate"}}); }), "")
        << text;
  }
}

}  // namespace
}  // namespace heddle::testing
