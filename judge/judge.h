// What a picture shows, as the shipped detector sees it: objects with subject, colour, box and confidence, and the
// background.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "io/image.h"
#include "judge/detector.h"

namespace heddle {

inline constexpr const char* unknown_name = "unknown";  // malformed, fused, or not of the judge's world

struct SeenObject {
  std::string subject, colour;  // a name of the configuration, or "unknown"
  double confidence = 0;        // 0..1: that an object is there, times that it is this subject
  std::array<double, 4> box{};  // x0, y0, x1, y1 in pixels
};

struct SeenPicture {
  std::vector<SeenObject> objects;  // surest first
  std::string background;
  double background_confidence = 0;
};

double box_overlap(const std::array<double, 4>& a, const std::array<double, 4>& b);  // intersection over union

// Row `picture` of what the detector answered. Cells whose eight neighbours are no surer speak.
SeenPicture read_answers(const JudgeAnswers& answers, int64_t picture, const JudgeConfig& config);

class Judge {
 public:
  // A folder with config.json and model.safetensors. Error(input).
  explicit Judge(const std::string& folder);

  const JudgeConfig& config() const { return config_; }
  // An rgb picture; one of another size than the judge's own is resized, boxes stay in pixels of the picture.
  SeenPicture operator()(const Image& picture) const;

 private:
  JudgeConfig config_;
  std::unique_ptr<Detector> detector_;
};

}  // namespace heddle
