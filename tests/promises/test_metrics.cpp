// Each metric on pictures whose verdicts are written by hand.
#include "promises/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int side = 32;

SeenObject object(const std::string& subject, const std::string& colour, std::array<double, 4> box) {
  return {.subject = subject, .colour = colour, .confidence = 0.9, .box = box};
}

JudgedPicture picture(std::vector<SeenObject> objects, const std::string& background = "grass", uint8_t level = 100) {
  JudgedPicture p;
  p.image = {.width = side, .height = side};
  p.image.pixels.assign(side * side * 3, level);
  p.verdict = {.objects = std::move(objects), .background = background, .background_confidence = 1};
  return p;
}

Pair cat_and_red_balloon() {
  Pair pair;
  pair.wanted.subjects = {{.name = "cat", .box = {0, 0, 0.5, 1}},
                          {.name = "balloon", .colour = "red", .box = {0.5, 0, 1, 1}}};
  pair.wanted.edited_subjects = pair.wanted.subjects;
  pair.wanted.background = pair.wanted.edited_background = "grass";
  pair.wanted.relation = "left of";
  return pair;
}

std::optional<double> value(const std::string& metric, const Pair& pair, const Outcome& outcome) {
  return metric_named(metric, "test").of(pair, outcome);
}

TEST(Metrics, SubjectsColoursAndBackground) {
  const Pair pair = cat_and_red_balloon();
  const Outcome good{
      .pictures = {picture({object("cat", "own", {1, 8, 14, 24}), object("balloon", "red", {18, 8, 30, 24})})}};
  for (const char* metric : {"all_present", "share_present", "bound", "colour_right", "background_right",
                             "nothing_else", "well_formed", "relation_right", "in_box", "all_in_box"})
    EXPECT_EQ(value(metric, pair, good), 1) << metric;

  const Outcome blue{
      .pictures = {picture({object("cat", "own", {18, 8, 30, 24}), object("balloon", "blue", {1, 8, 14, 24}),
                            object("unknown", "red", {0, 0, 4, 4})},
                           "sand")}};
  EXPECT_EQ(value("all_present", pair, blue), 1);
  for (const char* metric : {"bound", "colour_right", "background_right", "nothing_else", "well_formed",
                             "relation_right", "in_box", "all_in_box"})
    EXPECT_EQ(value(metric, pair, blue), 0) << metric;

  const Outcome alone{.pictures = {picture({object("cat", "red", {1, 8, 14, 24})})}};
  EXPECT_EQ(value("all_present", pair, alone), 0);
  EXPECT_EQ(value("share_present", pair, alone), 0.5);
  EXPECT_EQ(value("in_box", pair, alone), 1) << "of those seen";
  EXPECT_FALSE(value("colour_right", pair, alone)) << "no painted subject is seen";
  EXPECT_FALSE(value("relation_right", pair, alone));
}

TEST(Metrics, TwoOfOneNameAreTwoObjects) {
  Pair pair;
  pair.wanted.subjects = {{.name = "car", .colour = "red"}, {.name = "car", .colour = "blue"}};
  pair.wanted.edited_subjects = pair.wanted.subjects;
  const Outcome one{.pictures = {picture({object("car", "red", {1, 8, 14, 24})})}};
  const Outcome both_red{
      .pictures = {picture({object("car", "red", {1, 8, 14, 24}), object("car", "red", {18, 8, 30, 24})})}};
  const Outcome good{
      .pictures = {picture({object("car", "blue", {1, 8, 14, 24}), object("car", "red", {18, 8, 30, 24})})}};
  EXPECT_EQ(value("all_present", pair, one), 0);
  EXPECT_EQ(value("share_present", pair, one), 0.5);
  EXPECT_EQ(value("all_present", pair, both_red), 1);
  EXPECT_EQ(value("bound", pair, both_red), 0);
  EXPECT_EQ(value("colour_right", pair, both_red), 0);
  EXPECT_EQ(value("bound", pair, good), 1);
}

TEST(Metrics, AnObjectInTheWantedColourCountsBeforeASurerOne) {
  const Pair pair = cat_and_red_balloon();
  const Outcome two{
      .pictures = {picture({object("balloon", "blue", {0, 0, 8, 8}), object("balloon", "red", {18, 8, 30, 24}),
                            object("cat", "own", {1, 8, 14, 24})})}};
  EXPECT_EQ(value("bound", pair, two), 1);
  EXPECT_EQ(value("nothing_else", pair, two), 0);
}

TEST(Metrics, EditsAgainstTheirSource) {
  Pair pair;
  pair.wanted.subjects = {{.name = "panda"}};
  pair.wanted.edited_subjects = {{.name = "cat"}};
  pair.wanted.background = pair.wanted.edited_background = "grass";
  pair.wanted.edit = EditedPart::subject;
  pair.method = Outcome{.pictures = {picture({object("panda", "own", {8, 8, 24, 24})}),
                                     picture({object("cat", "own", {9, 8, 25, 24})}, "grass", 110)},
                        .members = {"source", "target"}};
  pair.plain = Outcome{.pictures = {picture({object("panda", "own", {0, 0, 8, 8})}, "grass", 151)}};
  EXPECT_EQ(value("edited", pair, *pair.method), 1);
  EXPECT_EQ(value("edited", pair, pair.plain), 0);
  EXPECT_NEAR(*value("change_outside", pair, *pair.method), 10 / 255.0, 1e-12);
  EXPECT_NEAR(*value("change_outside", pair, pair.plain), 51 / 255.0, 1e-12);
  EXPECT_EQ(value("place_kept", pair, *pair.method), 1);
  EXPECT_FALSE(value("place_kept", pair, pair.plain));
  // Pixels of objects do not count.
  pair.method->pictures[1].verdict.objects.push_back(object("unknown", "own", {0, 0, side, side}));
  EXPECT_FALSE(value("change_outside", pair, *pair.method));
}

TEST(Metrics, EditsOfAPictureThatBothRunsBeginFrom) {
  Pair pair;
  pair.wanted.subjects = {{.name = "car", .colour = "red"}};
  pair.wanted.edited_subjects = {{.name = "car", .colour = "blue"}};
  pair.wanted.background = pair.wanted.edited_background = "snow";
  pair.wanted.edit = EditedPart::colour;
  pair.source = Outcome{.pictures = {picture({object("car", "red", {8, 8, 24, 24})}, "snow")}};
  pair.plain = Outcome{.pictures = {picture({object("car", "blue", {1, 8, 17, 24})}, "snow", 151)}};
  pair.method = Outcome{.pictures = {picture({object("car", "blue", {8, 8, 24, 24})}, "snow", 110)}};
  EXPECT_NEAR(*value("background_psnr", pair, *pair.method), 20 * std::log10(25.5), 1e-9);
  EXPECT_NEAR(*value("background_psnr", pair, pair.plain), 20 * std::log10(5), 1e-9);
  EXPECT_EQ(value("background_psnr", pair, *pair.source), 100) << "the same picture";
  EXPECT_EQ(value("edited_in_place", pair, *pair.method), 1);
  EXPECT_EQ(value("edited", pair, pair.plain), 1);
  EXPECT_EQ(value("edited_in_place", pair, pair.plain), 0) << "14 dB";
  EXPECT_EQ(value("edited_in_place", pair, *pair.source), 0) << "nothing was edited";
  EXPECT_EQ(value("place_kept", pair, *pair.method), 1);
  EXPECT_EQ(value("place_kept", pair, pair.plain), 0);
  pair.source->pictures[0].verdict.objects[0].colour = "green";
  for (const char* metric : {"edited", "background_psnr", "edited_in_place"})
    EXPECT_FALSE(value(metric, pair, *pair.method)) << "a source that does not show a red car";
}

TEST(Metrics, SetsShareAStyle) {
  Pair pair;
  pair.wanted.subjects = {{.name = "panda"}};
  pair.wanted.background = "night";
  pair.wanted.set = {"a panda at night", "a cat", "a red car"};
  const Outcome far{.pictures = {picture({object("panda", "own", {8, 8, 24, 24})}, "night", 0),
                                 picture({object("cat", "own", {8, 8, 24, 24})}, "sand", 255),
                                 picture({object("dog", "own", {8, 8, 24, 24})}, "night", 0)}};
  EXPECT_NEAR(*value("style_variance", pair, far), 3 * (1.0 / 9 + 4.0 / 9 + 1.0 / 9) / 2, 1e-12);
  EXPECT_EQ(value("same_background", pair, far), 0.5);
  EXPECT_NEAR(*value("set_present", pair, far), 2.0 / 3, 1e-12);
}

TEST(Metrics, UnknownNamesTheNearest) {
  try {
    metric_named("all_presnt", "x.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("all_present"), std::string::npos);
  }
}

}  // namespace
}  // namespace heddle
