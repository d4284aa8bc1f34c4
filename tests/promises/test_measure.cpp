// A promise measured on the model that ships: one pair of an edit, whose picture a run of its own has drawn.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "io/image.h"
#include "promises/promise.h"

namespace heddle {
namespace {

// A promise whose plain runs have these settings; where it was written.
std::string written(const std::string& plain) {
  const std::string path = ::testing::TempDir() + "heddle_promise_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "says: a picture comes back\n"
                         "world: "
                      << HEDDLE_SOURCE_DIR
                      << "/presets/promises/emoji-world\n"
                         "groups: [{name: colours, count: 3, subjects: [painted], edit: colour}]\n"
                         "preset: {heddle: 1, model: emoji-unet, seed: $seed, prompt: $prompt,"
                         " sampler: {name: ddim, steps: 4, guidance: 1}}\n"
                         "source: {sampler: {steps: 6, guidance: 3}}\n"
                         "plain: "
                      << plain
                      << "\n"
                         "method: {task: edit, source: {image: $source, mask: $mask, prompt: $prompt},"
                         " inversion: {method: fixed_point, iterations: 5}}\n"
                         "metrics: [change_outside, background_psnr]\n";
  return path;
}

std::string temporary(const std::string& what) {
  const std::string name = "heddle-" + what + "-" + std::to_string(getpid()) + ".png";
  return (std::filesystem::temp_directory_path() / name).string();
}

TEST(Measure, PlainRunsHaveTheirOwnSettings) {
  const std::string path = written("{sampler: {steps: 6, guidance: 3}}");
  PromiseEvents events;
  events.on_pair = [&](const Pair& pair, int, int) {
    EXPECT_EQ(pair.plain.result().image.pixels, pair.source->result().image.pixels) << "which are the source's here";
  };
  measure_promise(PromiseSpec::read(path), path, {.pairs = 1}, events);
  std::filesystem::remove(path);
}

TEST(Measure, MasksSelectWhatTheJudgeSees) {
  const std::string path = written("{}"), mask = temporary("mask");
  PromiseEvents events;
  events.on_pair = [&](const Pair& pair, int, int) {
    const std::vector<SeenObject>& seen = pair.source->result().verdict.objects;
    ASSERT_EQ(seen.size(), 1u);
    const Image image = read_image(mask, Channels::grey);
    ASSERT_EQ(image.pixels.size(), 128u * 128u);
    const auto at = [&](double x, double y) {
      return image.pixels[static_cast<size_t>(y) * 128 + static_cast<size_t>(x)];
    };
    const auto& [x0, y0, x1, y1] = seen[0].box;
    EXPECT_EQ(at((x0 + x1) / 2, (y0 + y1) / 2), 255);
    EXPECT_EQ(at(x0 > 64 ? x0 - 6 : x1 + 6, (y0 + y1) / 2), 255) << "a cell further";
    EXPECT_EQ(at(x0 > 128 - x1 ? 0 : 127, y0 > 128 - y1 ? 0 : 127), 0) << "the corner that is farthest";
  };
  measure_promise(PromiseSpec::read(path), path, {.pairs = 1}, events);
  std::filesystem::remove(path);
}

TEST(Measure, BothRunsBeginFromTheSourcesPicture) {
  const std::string path = written("{seed: 99}");
  int pairs = 0;
  std::vector<double> plain, method;
  PromiseEvents events;
  events.on_pair = [&](const Pair& pair, int done, int total) {
    ++pairs;
    EXPECT_EQ(done, total);
    ASSERT_TRUE(pair.source && pair.method);
    ASSERT_EQ(pair.source->pictures.size(), 1u);
    const auto distance = [&](const Outcome& outcome) {
      const Image &a = pair.source->result().image, &b = outcome.result().image;
      EXPECT_EQ(a.pixels.size(), b.pixels.size());
      double total_change = 0;
      for (size_t i = 0; i < a.pixels.size(); ++i) total_change += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
      return total_change / static_cast<double>(a.pixels.size());
    };
    EXPECT_LT(distance(*pair.method), 0.3 * distance(pair.plain)) << "what is inverted comes back";
    for (const char* name : {"change_outside", "background_psnr"}) {
      const Metric& metric = metric_named(name, path);
      plain.push_back(metric.of(pair, pair.plain).value_or(NAN));
      method.push_back(metric.of(pair, *pair.method).value_or(NAN));
    }
  };
  const PromiseResult result = measure_promise(PromiseSpec::read(path), path, {.pairs = 1}, events);
  EXPECT_EQ(pairs, 1);
  EXPECT_EQ(result.settings, R"({"method":"fixed_point","iterations":5})") << "where no method is asked for";
  ASSERT_EQ(result.groups[0].metrics.size(), 2u);
  for (size_t m = 0; m < 2; ++m) {
    EXPECT_EQ(result.groups[0].metrics[m].plain, std::vector<double>{plain[m]});
    EXPECT_EQ(result.groups[0].metrics[m].method, std::vector<double>{method[m]});
    EXPECT_NE(plain[m], method[m]);
  }
  for (const char* left : {"source", "mask"}) EXPECT_FALSE(std::filesystem::exists(temporary(left)));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace heddle
