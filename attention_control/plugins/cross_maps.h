// What losses on cross-attention maps share: which sites to read, their mean map, smoothing, the length of a step.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "attention_control/plan/builder.h"
#include "io/params.h"

namespace heddle {

enum class StepRule : uint8_t { sqrt, linear };
template <>
struct ParamWords<StepRule> {
  static constexpr std::array words{"sqrt", "linear"};
};

// Cross sites whose image grid has `resolution` along its longer side. Not given: that nearest to a quarter of the
// latents' side, the published choice. Error(usage) where no site has that grid.
std::vector<SiteScope> cross_sites(PlanBuilder& plan, std::optional<int> resolution);

// The same; not given: the grid nearest to `side`.
std::vector<SiteScope> cross_sites_near(PlanBuilder& plan, std::optional<int> resolution, int side);

// Mean over sites (weighted by their heads) and heads of one lane's captured columns: [Nq,T] of one row.
Tensor mean_map(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row);

// The distinct lanes of the maps, in their order.
std::vector<Lane> lanes_of(const std::vector<AttentionMap>& maps);

// Text columns that take part in a softmax over words: all but the start token and the last slot, or up to the end
// token.
enum class TextRange : uint8_t { to_last, to_eot };
template <>
struct ParamWords<TextRange> {
  static constexpr std::array words{"to_last", "to_eot"};
};
std::vector<int64_t> word_columns(const PromptTokens& words, TextRange range);

// Positions of `keys` among `columns`. Error(usage) at `where` for one that is not among them.
std::vector<int64_t> places_in(const std::vector<int64_t>& columns, const std::vector<int64_t>& keys,
                               const std::string& where);

// [H*W] convolved with a square kernel of odd side, row-major weights; borders reflected.
Tensor smooth(const Tensor& map, int64_t height, int64_t width, const std::vector<double>& kernel);
// Attend-and-Excite's own weights exp(-(d / (2 sigma))^2), or a Gaussian of deviation sigma; normalised.
enum class KernelRule : uint8_t { official, gaussian };
template <>
struct ParamWords<KernelRule> {
  static constexpr std::array words{"official", "gaussian"};
};
std::vector<double> smoothing_kernel(int side, double sigma, KernelRule rule);

// scale * rule(linspace(range[0], range[1], steps)[step])
double step_length(double scale, const std::array<double, 2>& range, StepRule rule, int step, int steps);

}  // namespace heddle
