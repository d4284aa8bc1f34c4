// The detector's configuration and network.
#include "judge/detector.h"

#include "kernels/core/error.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

[[noreturn]] void fail_key(const Json& json, std::string_view key, std::string_view wanted, const std::string& got) {
  fail(ErrorCode::input, json.where() + " " + std::string(key), wanted, got);
}

int64_t whole(const Json& json, std::string_view key, int64_t fallback, int64_t low, int64_t high) {
  const auto value = json.get_or<int64_t>(key, fallback);
  if (value < low || value > high)
    fail_key(json, key, std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
  return value;
}

double share(const Json& json, std::string_view key, double fallback) {
  const auto value = json.get_or<double>(key, fallback);
  if (!(value >= 0 && value <= 1)) fail_key(json, key, "0 to 1", std::to_string(value));
  return value;
}

std::vector<std::string> names(const Json& json, std::string_view key) {
  auto out = json.get<std::vector<std::string>>(key);
  if (out.empty() || out.size() > 10000) fail_key(json, key, "1 to 10000 names", std::to_string(out.size()));
  return out;
}

std::vector<int64_t> four(const Json& json, std::string_view key, int64_t low, int64_t high) {
  auto out = json.get<std::vector<int64_t>>(key);
  if (out.size() != 4) fail_key(json, key, "four numbers", std::to_string(out.size()));
  for (const int64_t n : out) {
    if (n < low || n > high)
      fail_key(json, key, "each " + std::to_string(low) + " to " + std::to_string(high), std::to_string(n));
  }
  return out;
}

}  // namespace

JudgeConfig JudgeConfig::from(const Json& json) {
  json.require_known({"_class_name", "picture", "cell", "groups", "head_blocks", "box_unit", "channels", "blocks",
                      "subjects", "colours", "backgrounds", "thresholds"});
  JudgeConfig c;
  c.picture = whole(json, "picture", c.picture, 16, 4096);
  if (c.picture % 16 != 0) fail_key(json, "picture", "a multiple of 16", std::to_string(c.picture));
  c.cell = whole(json, "cell", c.cell, 8, 8);
  c.groups = whole(json, "groups", c.groups, 1, 1024);
  c.head_blocks = whole(json, "head_blocks", c.head_blocks, 0, 64);
  c.box_unit = json.get_or<double>("box_unit", c.box_unit);
  if (!(c.box_unit > 0 && c.box_unit <= 4096)) fail_key(json, "box_unit", "pixels", std::to_string(c.box_unit));
  c.channels = four(json, "channels", 1, 4096);
  c.blocks = four(json, "blocks", 0, 64);
  for (const int64_t n : c.channels) {
    if (n % c.groups != 0) fail_key(json, "channels", "multiples of groups", std::to_string(n));
  }
  c.subjects = names(json, "subjects");
  c.colours = names(json, "colours");
  c.backgrounds = names(json, "backgrounds");
  if (json.has("thresholds")) {
    const auto t = json.get<Json>("thresholds");
    t.require_known({"centre", "name", "overlap"});
    c.centre_threshold = share(t, "centre", c.centre_threshold);
    c.name_threshold = share(t, "name", c.name_threshold);
    c.overlap_threshold = share(t, "overlap", c.overlap_threshold);
  }
  return c;
}

Detector::Residual::Residual(const Scope& scope, int64_t channels, int64_t groups)
    : norm1(scope / "norm1", channels, {.groups = groups, .then = Activation::silu}),
      norm2(scope / "norm2", channels, {.groups = groups, .then = Activation::silu}),
      conv1(scope / "conv1", channels, channels, 3, {.padding = Padding::same(1)}),
      conv2(scope / "conv2", channels, channels, 3, {.padding = Padding::same(1)}) {}

Tensor Detector::Residual::operator()(const Tensor& x) const {
  return conv2(norm2(conv1(norm1(x))), {.residual = x});
}

Detector::Detector(const JudgeConfig& c, const Scope& scope)
    : widths_{1, 4, static_cast<int64_t>(c.subjects.size()) + 1, static_cast<int64_t>(c.colours.size())},
      norm_(scope / "norm", c.channels[2], {.groups = c.groups, .then = Activation::silu}),
      lateral_(Linear::matrix_or_1x1(scope / "lateral", c.channels[3], c.channels[2])),
      cells_(Linear::matrix_or_1x1(scope / "cells", c.channels[2], widths_[0] + widths_[1] + widths_[2] + widths_[3])),
      background_(scope / "background", c.channels[3], static_cast<int64_t>(c.backgrounds.size()) + 1) {
  int64_t before = 3;
  for (size_t i = 0; i < c.channels.size(); ++i) {
    const Scope level = scope / "levels" / static_cast<int64_t>(i);
    levels_.push_back(
        {Conv2d(level / "halve", before, c.channels[i], 3, {.stride = 2, .padding = Padding::same(1)}), {}});
    for (int64_t b = 0; b < c.blocks[i]; ++b)
      levels_.back().blocks.emplace_back(level / "blocks" / b, c.channels[i], c.groups);
    before = c.channels[i];
  }
  for (int64_t b = 0; b < c.head_blocks; ++b) blocks_.emplace_back(scope / "blocks" / b, c.channels[2], c.groups);
}

JudgeAnswers Detector::operator()(const Tensor& x) const {
  std::vector<Tensor> maps;  // [B,H/2,W/2,.], [B,H/4,W/4,.], ...
  for (const Level& level : levels_) {
    Tensor h = level.halve(maps.empty() ? x : maps.back());
    for (const Residual& block : level.blocks) h = block(h);
    maps.push_back(maps.empty() ? activate(h, Activation::silu) : h);
  }
  Tensor h = add(maps[2], upsample_nearest(lateral_(maps[3]), maps[2].dim(1), maps[2].dim(2)));
  for (const Residual& block : blocks_) h = block(h);
  const Tensor cells = cells_(norm_(h));  // [B,h,w,all]
  std::vector<Tensor> parts;
  int64_t at = 0;
  for (const int64_t width : widths_) {
    parts.push_back(slice(cells, 3, at, at + width));
    at += width;
  }
  return {parts[0], parts[1], parts[2], parts[3], background_(mean(maps[3], {1, 2}))};
}

}  // namespace heddle
