// A promise measured on the model that ships: one pair of an edit, whose picture a run of its own has drawn.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "promises/promise.h"

namespace heddle {
namespace {

TEST(Measure, BothRunsBeginFromTheSourcesPicture) {
  const std::string path = ::testing::TempDir() + "heddle_promise_" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "says: a picture comes back\n"
                         "world: "
                      << HEDDLE_SOURCE_DIR
                      << "/presets/promises/emoji-world\n"
                         "groups: [{name: colours, count: 3, subjects: [painted], edit: colour}]\n"
                         "preset: {heddle: 1, model: emoji-unet, seed: $seed, prompt: $prompt,"
                         " sampler: {name: ddim, steps: 4, guidance: 1}}\n"
                         "source: {sampler: {steps: 6, guidance: 3}}\n"
                         "plain: {seed: 99}\n"
                         "method: {task: edit, source: {image: $source, prompt: $prompt},"
                         " inversion: {method: fixed_point, iterations: 5}}\n"
                         "metrics: [change_outside, background_psnr]\n";
  int pairs = 0;
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
  };
  const PromiseResult result = measure_promise(PromiseSpec::read(path), path, {.pairs = 1}, events);
  EXPECT_EQ(pairs, 1);
  EXPECT_EQ(result.settings, R"({"method":"fixed_point","iterations":5})") << "where no method is asked for";
  EXPECT_EQ(result.groups[0].metrics[0].method.size(), 1u);
  const std::string left = "heddle-source-" + std::to_string(getpid()) + ".png";
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::temp_directory_path() / left));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace heddle
