// Prompt-to-Prompt's local blend: outside the places where the blend's words look, the target's latents are the
// source's. Hertz et al. 2023, section 4 "local editing"; LocalBlend of the official notebooks.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "attention_control/plan/builder.h"
#include "attention_control/plugins/grid_mask.h"
#include "attention_control/plugins/token_words.h"

namespace heddle {

enum class StoredMaps : uint8_t { after, before };
template <>
struct ParamWords<StoredMaps> {
  static constexpr std::array words{"after", "before"};
};

// What a threshold is a share of: the map's peak, as the official code has it, or what lies between its least and peak.
// Words of joint attention look everywhere a little, so that half of the peak may be the whole picture.
enum class MapShare : uint8_t { peak, range };
template <>
struct ParamWords<MapShare> {
  static constexpr std::array words{"peak", "range"};
};

struct LocalBlendSettings {
  std::vector<TokenWords> words, exclude_words;  // entry i belongs to member i
  double threshold = 0.3, exclude_threshold = 0.3, start = 0;
  StoredMaps store = StoredMaps::after;
  MapShare share_of = MapShare::peak;
  std::optional<int> resolution;
  static Params<LocalBlendSettings> params();
};

// How a sum of a target's map columns is made at one step: of the source's columns and of its own, weights by token.
struct ColumnWeights {
  std::vector<float> source, own;
};

class LocalBlend {
 public:
  // The edited map of a member's `words` at a step; `reads` lists the source's tokens that may carry weight there. Both
  // empty: captures read the target's map as edited.
  struct Edited {
    std::function<ColumnWeights(int member, int step, const std::vector<int64_t>& words)> weights;
    std::function<std::vector<int64_t>(int member, const std::vector<int64_t>& words)> reads;
  };
  // Declares captures and hooks, which keep `this`. Error(usage) for words that a member's prompt has not.
  void declare(PlanBuilder& plan, const LocalBlendSettings& settings, Edited edited);

 private:
  using Sums = std::map<std::pair<int, int64_t>, std::vector<float>>;  // (member, picture) -> [Nq], over steps so far
  void collect(const Captures& captures, const Moment& moment);
  void accumulate(Sums& sums, const std::vector<AttentionMap>& totals, int member, const ColumnWeights& weights) const;
  Tensor blended(const StepState& state) const;
  Grid region(const Sums& sums, int member, int64_t picture, double threshold, bool grown) const;

  LocalBlendSettings settings_;
  Edited edited_;
  std::vector<std::vector<int64_t>> words_, excluded_;  // tokens of each member
  Sums sums_, excluded_sums_;
  int64_t map_height_ = 0, map_width_ = 0, height_ = 0, width_ = 0;
};

}  // namespace heddle
