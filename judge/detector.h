// A small detector of what pictures show: one answer for each cell of 8x8 pixels and one for the background (after
// CenterNet, Zhou et al. 2019). Trained by training/train_judge.py.
#pragma once

#include <string>
#include <vector>

#include "io/json.h"
#include "kernels/layers/layers.h"

namespace heddle {

struct JudgeConfig {
  int64_t picture = 128, cell = 8, groups = 8, head_blocks = 2;
  double box_unit = 32;                                     // pixels: the sides of boxes are told in this unit
  std::vector<int64_t> channels, blocks;                    // at 1/2, 1/4, 1/8 and 1/16 of the picture
  std::vector<std::string> subjects, colours, backgrounds;  // without "unknown"
  double centre_threshold = 0.35;                           // below it a cell holds no object
  double name_threshold = 0.5;                              // below it a name is "unknown"
  double overlap_threshold = 0.5;                           // of two boxes with more overlap the weaker goes

  // config.json. Error(input) naming a key that is unknown, missing or out of range.
  static JudgeConfig from(const Json& json);
};

// h x w cells of each of B pictures; logits but for `sides`.
struct JudgeAnswers {
  Tensor centre;      // [B,h,w,1] whether an object's centre lies here
  Tensor sides;       // [B,h,w,4] from the cell's centre to its left, top, right, bottom, in box_unit
  Tensor subject;     // [B,h,w,subjects + 1], the last is "unknown"
  Tensor colour;      // [B,h,w,colours]
  Tensor background;  // [B,backgrounds + 1], the last is "unknown"
};

class Detector {
 public:
  Detector(const JudgeConfig& config, const Scope& scope);
  // x f32 [B,H,W,3] in -1..1, H and W the configuration's `picture`. Differentiable.
  JudgeAnswers operator()(const Tensor& x) const;

 private:
  // x + conv(silu(norm(conv(silu(norm(x))))))
  struct Residual {
    Residual(const Scope& scope, int64_t channels, int64_t groups);
    Tensor operator()(const Tensor& x) const;
    GroupNorm norm1, norm2;
    Conv2d conv1, conv2;
  };
  struct Level {
    Conv2d halve;
    std::vector<Residual> blocks;
  };

  std::vector<int64_t> widths_;  // of the parts of a cell's answer
  std::vector<Level> levels_;
  std::vector<Residual> blocks_;
  GroupNorm norm_;
  Linear lateral_, cells_, background_;
};

}  // namespace heddle
