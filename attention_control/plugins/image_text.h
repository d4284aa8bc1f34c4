// Image and text at a site. A UNet's self sites attend from pixels to pixels, its cross sites from pixels to words; the
// joint sites of SD3 and FLUX do both in one softmax. Methods say each rule once, for pixels at pixels or pixels at
// words, and it holds at every site that has these tokens.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "attention_control/plan/builder.h"
#include "io/params.h"

namespace heddle {

template <>
struct ParamWords<KeyPlaces> {
  static constexpr std::array words{"own", "centre", "beside"};
};

// Where image and text tokens stand at a site; empty ranges where it has none.
struct ImageText {
  TokenRange image_queries, text_queries, image_keys, text_keys;
  bool joint() const { return !image_keys.empty() && !text_keys.empty(); }
};
ImageText image_text(const SiteTokens& tokens);
// The grid of the image's queries; of the first queries where none are an image's.
const TokenSegment& image_grid(const SiteTokens& tokens);
int64_t longer_side(const SiteTokens& tokens);  // of that grid
// "image" where a site has other tokens, too: what Take and Extend are told. Empty where it has none.
std::string image_segment(const SiteTokens& tokens);

// Sites where pixels look at pixels (self, joint) and at words (cross, joint). `layers`: names of sites, beginnings of
// them, or shares of depth (SiteSelect::names); empty: all. Error(usage) naming the sites there are where none fits.
std::vector<SiteScope> image_sites(PlanBuilder& plan, const std::vector<std::string>& layers = {});
std::vector<SiteScope> text_sites(PlanBuilder& plan, const std::vector<std::string>& layers = {});
// True where text is seen in joint attention alone.
bool is_joint(const RunShape& run);
// What `layers` means where it is not given: `levels`, names of a UNet's levels, or, in a network whose sites have no
// such names, a share of depth.
std::vector<std::string> layers_or(const std::vector<std::string>& layers, const RunShape& run,
                                   const std::vector<std::string>& levels, const std::string& share);

// Text keys from the first to the end token of each encoder; padding and encoders without words are left out.
std::vector<int64_t> prompt_keys(const PromptTokens& prompt);

// Captures where the image looks in the text: `capture.keys` are text positions here. At a joint site the probabilities
// are those among prompt_keys() alone, as in a cross-attention that sees the prompt, and neither pixels nor padding.
void capture_words(const SiteScope& site, Capture capture, const PromptTokens& prompt);
// Captures where the image looks in the image: `capture.keys` are places in the image; at a joint site among all of
// the image's keys.
void capture_pixels(const SiteScope& site, Capture capture);
// The rows of such a map that are the image's: [R,Nx,T], or [R,H,Nx,T].
Tensor image_rows(const AttentionMap& map);

// x [R,N,H,D] with `made` of its image tokens [R,Nx,H,D] in their place.
Tensor with_image(const Tensor& x, const TokenRange& image, const std::function<Tensor(const Tensor&)>& made);

// Error(usage) for keys that shall stand elsewhere at sites without rotary positions.
void check_places(const PlanBuilder& plan, KeyPlaces places, const std::vector<SiteScope>& sites);

// One number for each text key [1|R,T], added to the scores of the image's queries.
TermForm text_column(const Tensor& bias, const SiteTokens& tokens);

}  // namespace heddle
