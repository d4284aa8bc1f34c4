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

// Whole files.
constexpr const char* broken_files[] = {
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
    "\xfe\xff",
    "\x7f"
    "ELF",
    "\x89PNG\r\n\x1a\n",
    "PK\3\4",
    "\x1f\x8b\x08",
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
};

// What follows a sound beginning.
constexpr const char* broken_tails[] = {
    "heddle: 1\n",
    "\theddle: 1\n",
    "seed: &a 1\nimages: *a\n",
    "seed: *missing\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "<<: *x\n",
    "<<: {seed: 1}\n",
    "seed: !!int 3\n",
    "seed: !!python/object:os.system [x]\n",
    "seed: !local 3\n",
    "...\n---\na: 1\n",
    "prompt: 'open\n",
    "negative: \"open\n",
    "negative: \"\\q\"\n",
    "negative: \"\\xZZ\"\n",
    "negative: \"\\uD800\"\n",
    "negative: \"\\U00110000\"\n",
    "size: [1, 2\n",
    "sampler: {steps: 3\n",
    "sampler: {steps: 3]\n",
    "sampler: {{steps: 3}: 4}\n",
    "[a, b]: c\n",
    "? {a: b}\n: c\n",
    "~: c\n",
    "'': c\n",
    "sampler:\n steps: 3\n   eta: 1\n",
    "  seed: 1\n",
    "seed: 1\n seed2: 2\n",
    "negative: |99\n x\n",
    "negative: >q\n x\n",
    "negative: @x\n",
    "negative: `x\n",
    "negative: a: b: c\n",
    "negative: \xc3\x28\n",
    "negative: \xed\xa0\x80\n",
    "negative: \xf4\x90\x80\x80\n",
    "negative: \xc0\xaf\n",
    "negative: a\x01z\n",
    "negative: a\x1bz\n",
    "task: ''\n",
    "task: [generate]\n",
    "task: edit\n",
    "size: 512\n",
    "size: [512]\n",
    "size: [1, 2, 3]\n",
    "size: [512, -512]\n",
    "size: [512, 99999]\n",
    "size: {w: 1}\n",
    "size: [a, b]\n",
    "size: [512.5, 512]\n",
    "size: [1e3, 512]\n",
    "seed: -1\n",
    "seed: 9223372036854775808\n",
    "seed: 0x10\n",
    "seed: 1e3\n",
    "seed: '1'\n",
    "seed: ''\n",
    "images: 0\n",
    "images: 1000000000\n",
    "threads: -2\n",
    "threads: 1000000\n",
    "dtype: f16\n",
    "dtype: 32\n",
    "rng: numpy\n",
    "memory_budget: -1\n",
    "memory_budget: 4 parsecs\n",
    "memory_budget: 99999999TiB\n",
    "memory_budget: GiB\n",
    "memory_budget: 1.5\n",
    "memory_budget: [1]\n",
    "sampler: ddim\n",
    "sampler: [ddim]\n",
    "sampler: {name: k_euler}\n",
    "sampler: {steps: 0}\n",
    "sampler: {steps: 1000000000}\n",
    "sampler: {guidance: .nan}\n",
    "sampler: {guidance: .inf}\n",
    "sampler: {guidance: 1e999}\n",
    "sampler: {guidance: inf}\n",
    "sampler: {guidance: }x\n",
    "sampler: {eta: 2}\n",
    "sampler: {eta: -0.1}\n",
    "sampler: {use_karras_sigmas: yes}\n",
    "sampler: {use_karras_sigmas: 1}\n",
    "sampler: {trained_betas: 0.1}\n",
    "sampler: {trained_betas: [2]}\n",
    "sampler: {beta_schedule: cosine}\n",
    "sampler: {steps: 3, steps: 4}\n",
    "attention: pag\n",
    "attention: [pag]\n",
    "attention: {pag: {}}\n",
    "attention: [{}]\n",
    "attention: [{a: 1, b: 2}]\n",
    "attention: [{pag: {}}]\n",
    "attention: [null]\n",
    "source: a.png\n",
    "source: {image: a.png}\n",
    "task: inpaint\n",
    "task: inpaint\nsource: {image: a}\n",
    "task: image_to_image\nsource: {}\n",
    "task: image_to_image\nsource: {image: a, mask: b}\n",
    "task: image_to_image\nsource: {image: a, strength: 1.5}\n",
    "text: on\n",
    "text: {clip_skip: 99}\n",
    "text: {weights: compel}\n",
    "sdxl: {crop: [0]}\n",
    "sdxl: {crop: [-1, 0]}\n",
    "vae: {tiling: maybe}\n",
    "preview: {every: 0}\n",
    "preview: {file: a.gif}\n",
    "preview: true\n",
    "output: ''\n",
    "output: a.exe\n",
    "output: [a.png]\n",
    "save_latents: a.png\n",
    "save_image_tensor: a\n",
    "noise: [a]\n",
};

std::vector<std::string> broken_yaml() {
  std::vector<std::string> all(std::begin(broken_files), std::end(broken_files));
  for (const char* tail : broken_tails) all.push_back(head + tail);
  const auto add = [&all](std::string text) { all.push_back(std::move(text)); };
  add("\xff\xfe"
      "h\0e\0");
  add(std::string("\0\0\0h", 4));
  add(std::string(100, '\0'));
  add(laughs());
  add(head + "---\n" + head);
  add(head + "x: " + std::string(65, '[') + std::string(65, ']') + "\n");
  add(head + "x: " + std::string(10000, '[') + "\n");
  add(head + "x: " + repeat("{a: ", 10000) + "\n");
  add(head + repeat("- ", 10000) + "\n");
  add(repeat("- ", 10000) + "\n");
  add(repeat("? ", 10000) + "\n");
  add(repeat("a: ", 10000) + "\n");
  add(std::string(10000, '{'));
  add(std::string(10000, '\''));
  add(std::string(9999, '"'));
  add(std::string(10000, '&'));
  add(std::string(10000, '*'));
  add(std::string(10000, '!'));
  add(std::string(10000, '|'));
  add(std::string(10000, '-'));
  add(std::string(10000, ' ') + "a");
  add(nested_maps(70));
  add(head + "x: [" + repeat("1,", 30000) + "1]\n");
  add(head + "x: " + std::string(1 << 20, 'x') + "\n");
  add(std::string(2 << 20, 'x'));
  add(head + std::string(100000, 'k') + ": 1\n");
  add(head + "sampler: {" + std::string(100000, 'k') + ": 1}\n");
  return all;
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
  for (const std::string text : {
           "",
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
           "model=",
       }) {
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
