// Summaries, bars, the record and the page.
#include "promises/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "io/file.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

PromiseResult result() {
  PromiseResult r{
      .name = "method_x", .says = "It works.", .model = "m", .settings = "[{\"x\":{}}]", .has_method = true};
  r.steps = 30;
  r.guidance = 4;
  GroupResult g{.name = "two"};
  MetricResult present{.metric = "all_present"}, variance{.metric = "style_variance"};
  for (int i = 0; i < 100; ++i) {
    present.plain.push_back(i < 50 ? 1 : 0);
    present.method.push_back(i < 80 && i > 1 ? 1 : 0);
    variance.plain.push_back(i == 7 ? NAN : 0.5);
    variance.method.push_back(0.125);
    g.prompts.push_back("p" + std::to_string(i));
    g.plain_seconds.push_back(1);
    g.method_seconds.push_back(1.5);
  }
  g.metrics = {present, variance};
  r.groups = {g};
  r.bars = {{.metric = "all_present", .gain = 0.15}, {.metric = "style_variance", .ratio = 0.2}};
  r.time_ratio = 1.6;
  return r;
}

TEST(Report, SummarisesPairs) {
  const PromiseResult r = result();
  const Summary present = summarise(r.groups[0].metrics[0], true);
  EXPECT_EQ(present.pairs, 100);
  EXPECT_DOUBLE_EQ(present.plain.value, 0.5);
  EXPECT_DOUBLE_EQ(present.method.value, 0.78);
  EXPECT_EQ(present.wins, 30);
  EXPECT_EQ(present.losses, 2);
  EXPECT_NEAR(present.difference.value, 0.28, 1e-12);
  EXPECT_LT(present.p, 1e-4);
  const Summary variance = summarise(r.groups[0].metrics[1], true);
  EXPECT_EQ(variance.pairs, 99) << "one plain run had no answer";
  EXPECT_EQ(variance.wins, 99) << "less is better";
  EXPECT_NEAR(variance.ratio.value, 0.25, 1e-12);
}

TEST(Report, JudgesBars) {
  const Summary s = summarise(result().groups[0].metrics[0], true);
  EXPECT_TRUE(judge_bar({.metric = "all_present", .gain = 0.15}, s, true).met);
  EXPECT_FALSE(judge_bar({.metric = "all_present", .gain = 0.3}, s, true).met);
  EXPECT_TRUE(judge_bar({.metric = "all_present", .at_least = 0.7}, s, true).met);
  EXPECT_FALSE(judge_bar({.metric = "all_present", .at_least = 0.7}, s, false).met) << "the plain rate is 0.5";
  EXPECT_FALSE(judge_bar({.metric = "all_present", .at_most = 0.7}, s, true).met);
  EXPECT_TRUE(judge_bar({.metric = "all_present", .loss = 0.03}, s, true).met);
  EXPECT_FALSE(judge_bar({.metric = "all_present", .ratio = 1.2}, s, true).met);
}

TEST(Report, RecordsAndReadsBack) {
  const std::string path = ::testing::TempDir() + "heddle_record_" + std::to_string(::getpid()) + ".json";
  write_file(path, promise_to_json(result()));
  const PromiseResult back = promise_from_json(path);
  EXPECT_EQ(promise_to_json(back), promise_to_json(result()));
  EXPECT_TRUE(std::isnan(back.groups[0].metrics[1].plain[7]));
  PromiseResult one = result();
  one.groups[0].metrics = {{.metric = "place_kept", .plain = {NAN}, .method = {1}}};
  write_file(path, promise_to_json(one));
  EXPECT_TRUE(std::isnan(promise_from_json(path).groups[0].metrics[0].plain.at(0))) << "a pair without an answer";
  write_file(path, "{\"name\": \"x\"}");
  EXPECT_THROW(promise_from_json(path), Error);
  fs::remove(path);
}

JudgedPicture picture(const std::string& subject) {
  JudgedPicture p;
  p.image = {.width = 16, .height = 16};
  p.image.pixels.assign(16 * 16 * 3, 200);
  p.verdict.objects = {{.subject = subject, .colour = "own", .box = {2, 2, 9, 9}}};
  return p;
}

TEST(Report, SheetsKeepTheFirstOfEachKind) {
  ContactSheet sheet(metric_named("all_present", "test"), 2);
  Pair pair;
  pair.wanted.prompt = "a cat";
  pair.wanted.edited_subjects = {{.name = "cat"}};
  pair.plain.pictures = {picture("unknown")};
  pair.method = Outcome{.pictures = {picture("cat")}};
  Pair same = pair;
  same.plain = *pair.method;
  sheet.offer(same);  // right both times: neither a win nor a failure
  for (int i = 0; i < 3; ++i) sheet.offer(pair);
  EXPECT_EQ(sheet.win_captions().size(), 2u);
  EXPECT_EQ(sheet.failure_captions().size(), 0u);
  EXPECT_EQ(sheet.failures().width, 0);
  const Image wins = sheet.wins();
  EXPECT_EQ(wins.height, 22);
  const auto at = [&](int x, int y) { return wins.pixels[static_cast<size_t>(y * wins.width + x) * 3]; };
  EXPECT_EQ(at(0, 0), 205) << "the plain one was wrong: a red frame";
  EXPECT_EQ(at(22, 0), 40) << "the method's was right: a green frame";
  EXPECT_EQ(at(22 + 3 + 2, 3 + 2), 255) << "a white box";
  EXPECT_NE(sheet.win_captions()[0].find("a cat | plain: unknown"), std::string::npos);
}

TEST(Report, WritesOnePageForAllPromises) {
  const std::string folder = ::testing::TempDir() + "heddle_report_" + std::to_string(::getpid());
  const ContactSheet sheet(metric_named("all_present", "test"), 2);
  PromiseResult r = result();
  write_report(folder, r, sheet);
  r.name = "other";
  r.has_method = false;
  write_report(folder, r, sheet);
  const std::string page = read_file(folder + "/promises.md", 1 << 20);
  EXPECT_NE(page.find("## method_x"), std::string::npos);
  EXPECT_NE(page.find("## other"), std::string::npos);
  EXPECT_NE(page.find("    heddle promise other --pairs 100\n"), std::string::npos);
  EXPECT_NE(page.find("| two | all_present | 100 | 50.0 % (40.4 to 59.6) | 78.0 %"), std::string::npos) << page;
  EXPECT_NE(page.find("gain at least 0.15, met"), std::string::npos);
  EXPECT_NE(page.find("ratio at most 0.2: 0.25, **missed**"), std::string::npos);
  EXPECT_NE(page.find("ratio 1.50 (medians); bar at most 1.60, met"), std::string::npos);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace heddle
