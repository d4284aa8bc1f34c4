// What losses on maps of words share: which sites to read, their mean map, smoothing, the length of a step.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "attention_control/plugins/image_text.h"
#include "io/params.h"

namespace heddle {

enum class StepRule : uint8_t { sqrt, linear };
template <>
struct ParamWords<StepRule> {
  static constexpr std::array words{"sqrt", "linear"};
};

constexpr const char* map_grid_help =
    "side of the maps that are read; nearest to a quarter of the latents' side if not given";
constexpr const char* map_layers_help =
    "sites that are read, beginnings of their names, or shares of depth; all, of a transformer \"0.25..0.75\", if not "
    "given";

// Of text_sites(), those whose image grid has `resolution` along its longer side. Not given: that nearest to a quarter
// of the latents' side, the published choice; the tokens of a transformer have one grid. `layers` not given: all of a
// UNet, and the middle half of a transformer. Error(usage) where no site has that grid.
struct MapSites {
  std::optional<int> resolution;
  std::vector<std::string> layers;
};
std::vector<SiteScope> map_sites(PlanBuilder& plan, const MapSites& choice);
// The same; not given: the grid nearest to `side`.
std::vector<SiteScope> map_sites_near(PlanBuilder& plan, const MapSites& choice, int side);

// Mean over sites (weighted by their heads) and heads of one lane's captured columns: [Nx,T] of one row's image.
Tensor mean_map(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row);

// The distinct lanes of the maps, in their order.
std::vector<Lane> lanes_of(const std::vector<AttentionMap>& maps);

// Text columns that take part in a softmax over words: of each encoder all but the start token and the last slot, or up
// to the end token.
enum class TextRange : uint8_t { to_last, to_eot };
template <>
struct ParamWords<TextRange> {
  static constexpr std::array words{"to_last", "to_eot"};
};
std::vector<int64_t> word_columns(const PromptTokens& words, TextRange range);
// Not given: to_last, or to_eot where hundreds of padding slots would take part. Error(usage) at `where` for to_last
// there.
TextRange text_range_of(std::optional<TextRange> asked, const RunShape& run, const std::string& where);

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
