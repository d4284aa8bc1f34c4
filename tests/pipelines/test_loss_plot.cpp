// The drawing of a guided run's losses: its lines, its legend, its frame.
#include "pipelines/loss_plot.h"

#include <gtest/gtest.h>

#include <regex>

namespace heddle {
namespace {

bool contains(const std::string& svg, const std::string& text) {
  return svg.find(text) != std::string::npos;
}

GuideRecord record(const std::string& method, int step, int iteration, double loss, double moved = 0) {
  return {.method = method, .step = step, .iteration = iteration, .picture = 0, .loss = loss, .moved = moved};
}

// The corners of each line, in pixels.
std::vector<std::vector<std::pair<double, double>>> lines_of(const std::string& svg) {
  std::vector<std::vector<std::pair<double, double>>> out;
  const std::regex line("points='([^']*)'"), corner("([-0-9.]+),([-0-9.]+)");
  for (std::sregex_iterator l(svg.begin(), svg.end(), line), end; l != end; ++l) {
    const std::string points = (*l)[1];
    out.emplace_back();
    for (std::sregex_iterator c(points.begin(), points.end(), corner); c != end; ++c)
      out.back().emplace_back(std::stod((*c)[1]), std::stod((*c)[2]));
  }
  return out;
}

TEST(LossPlot, HasALineForEachMethodThatFallsWithItsLoss) {
  const std::string svg =
      loss_plot({record("a_star", 0, 0, 0.9), record("bounded_attention", 0, 0, 1.5), record("a_star", 1, 0, 0.3)});
  const auto lines = lines_of(svg);
  ASSERT_EQ(lines.size(), 2u);
  ASSERT_EQ(lines[0].size(), 2u);
  EXPECT_LT(lines[0][0].first, lines[0][1].first);
  EXPECT_LT(lines[0][0].second, lines[0][1].second);  // y grows downwards
  EXPECT_LT(lines[1][0].second, lines[0][0].second);
  EXPECT_TRUE(contains(svg, ">a_star, picture 0</text>"));
  EXPECT_TRUE(contains(svg, ">bounded_attention, picture 0</text>"));
}

TEST(LossPlot, PutsRepeatedUpdatesWithinTheirStep) {
  const auto lines = lines_of(loss_plot({record("m", 0, 0, 3), record("m", 0, 1, 2), record("m", 1, 0, 1)}));
  ASSERT_EQ(lines.size(), 1u);
  const auto& at = lines[0];
  EXPECT_NEAR(at[1].first - at[0].first, (at[2].first - at[0].first) / 2, 0.1);
}

TEST(LossPlot, SaysHowFarUpdatesMovedTheLatents) {
  const std::string moved =
      loss_plot({record("m", 0, 0, 3, 0.0126), record("m", 1, 0, 1, 0.004), record("m", 2, 0, 1)});
  EXPECT_TRUE(contains(moved, "m, picture 0: updates of 0.4 to 1.3 % of the latents' norm"));
  EXPECT_FALSE(contains(loss_plot({record("m", 0, 0, 3)}), "updates"));
}

TEST(LossPlot, StaysInItsFrameWhateverTheLossIs) {
  const std::string svg = loss_plot({record("m", 0, 0, -4), record("m", 1, 0, 2)});
  const auto lines = lines_of(svg);
  ASSERT_EQ(lines.size(), 1u);
  for (const auto& [x, y] : lines[0]) {
    EXPECT_GE(x, 60);
    EXPECT_LE(x, 700);
    EXPECT_GE(y, 30);
    EXPECT_LE(y, 355);
  }
}

}  // namespace
}  // namespace heddle
