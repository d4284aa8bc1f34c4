// From answers to verdicts; the judge as a folder.
#include "judge/judge.h"

#include <algorithm>
#include <cmath>

#include "io/image_tensor.h"
#include "io/weights.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

struct Named {
  std::string name;
  double confidence;
};

// The likeliest of `names` by softmax over all logits, which may have one more for "unknown".
Named named(std::span<const float> logits, const std::vector<std::string>& names, double threshold) {
  const float top = *std::ranges::max_element(logits);
  double total = 0;
  for (const float l : logits) total += std::exp(static_cast<double>(l - top));
  const auto best = std::ranges::max_element(logits.first(names.size()));
  const double confidence = std::exp(static_cast<double>(*best - top)) / total;
  const auto index = static_cast<size_t>(best - logits.begin());
  return {confidence >= threshold ? names[index] : unknown_name, confidence};
}

// Row of the last axis of a dense f32 tensor.
std::span<const float> row(const Tensor& x, int64_t index) {
  const auto width = static_cast<size_t>(x.dim(-1));
  return std::span(x.data<float>() + static_cast<size_t>(index) * width, width);
}

struct Cell {
  int64_t y, x;
  double centre;  // chance that an object's centre lies here
};

std::vector<Cell> peaks(const Tensor& centre, int64_t picture, double threshold) {
  const int64_t h = centre.dim(1), w = centre.dim(2);
  const auto logit = [&](int64_t y, int64_t x) { return row(centre, (picture * h + y) * w + x)[0]; };
  std::vector<Cell> out;
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      const double chance = 1 / (1 + std::exp(-static_cast<double>(logit(y, x))));
      bool peak = chance >= threshold;
      for (int64_t v = std::max<int64_t>(y - 1, 0); peak && v <= std::min(y + 1, h - 1); ++v) {
        for (int64_t u = std::max<int64_t>(x - 1, 0); u <= std::min(x + 1, w - 1); ++u)
          peak = peak && logit(v, u) <= logit(y, x);
      }
      if (peak) out.push_back({y, x, chance});
    }
  }
  std::ranges::stable_sort(out, std::ranges::greater{}, &Cell::centre);
  return out;
}

std::array<double, 4> box_of(std::span<const float> sides, const Cell& at, const JudgeConfig& c) {
  const double x = (static_cast<double>(at.x) + 0.5) * static_cast<double>(c.cell);
  const double y = (static_cast<double>(at.y) + 0.5) * static_cast<double>(c.cell);
  std::array<double, 4> box{x - sides[0] * c.box_unit, y - sides[1] * c.box_unit, x + sides[2] * c.box_unit,
                            y + sides[3] * c.box_unit};
  for (double& edge : box) edge = std::clamp(edge, 0.0, static_cast<double>(c.picture));
  return box;
}

JudgeConfig read_config(const std::string& folder) {
  return JudgeConfig::from(Json::read(folder + "/config.json"));
}

}  // namespace

double box_overlap(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double w = std::min(a[2], b[2]) - std::max(a[0], b[0]), h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  const double both = std::max(w, 0.0) * std::max(h, 0.0);
  const double either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both;
  return either > 0 ? both / either : 0;
}

SeenPicture read_answers(const JudgeAnswers& answers, int64_t picture, const JudgeConfig& c) {
  const int64_t h = answers.centre.dim(1), w = answers.centre.dim(2);
  SeenPicture verdict;
  for (const Cell& at : peaks(answers.centre, picture, c.centre_threshold)) {
    const int64_t index = (picture * h + at.y) * w + at.x;
    const Named subject = named(row(answers.subject, index), c.subjects, c.name_threshold);
    const Named colour = named(row(answers.colour, index), c.colours, c.name_threshold);
    const SeenObject seen{subject.name, colour.name, at.centre * subject.confidence,
                          box_of(row(answers.sides, index), at, c)};
    const auto covers = [&](const SeenObject& o) { return box_overlap(o.box, seen.box) > c.overlap_threshold; };
    if (std::ranges::none_of(verdict.objects, covers)) verdict.objects.push_back(seen);
  }
  const Named background = named(row(answers.background, picture), c.backgrounds, c.name_threshold);
  verdict.background = background.name;
  verdict.background_confidence = background.confidence;
  return verdict;
}

Judge::Judge(const std::string& folder) : config_(read_config(folder)) {
  Weights weights(folder);
  detector_ = std::make_unique<Detector>(config_, Scope(weights, DType::f32));
  weights.require_all_used();
}

SeenPicture Judge::operator()(const Image& picture) const {
  const auto side = static_cast<int>(config_.picture);
  const bool fits = picture.width == side && picture.height == side;
  const Tensor x = image_to_tensor(fits ? picture : resize_lanczos(picture, side, side));  // [1,H,W,3] in 0..1
  const JudgeAnswers a = (*detector_)(add_constant(scale(x, 2), -1));
  SeenPicture verdict = read_answers({contiguous(a.centre), contiguous(a.sides), contiguous(a.subject),
                                      contiguous(a.colour), contiguous(a.background)},
                                     0, config_);
  for (SeenObject& object : verdict.objects) {
    for (size_t i = 0; i < 4; ++i)
      object.box[i] *= static_cast<double>(i % 2 == 0 ? picture.width : picture.height) / side;
  }
  return verdict;
}

}  // namespace heddle
