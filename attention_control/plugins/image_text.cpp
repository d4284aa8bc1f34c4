// Ranges of tokens, and captures and terms that address them.
#include "attention_control/plugins/image_text.h"

#include <algorithm>
#include <numeric>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

std::vector<int64_t> consecutive(const TokenRange& range) {
  std::vector<int64_t> out(static_cast<size_t>(range.size()));
  std::iota(out.begin(), out.end(), range.begin);
  return out;
}

std::vector<int64_t> moved(std::vector<int64_t> keys, int64_t by) {
  for (int64_t& key : keys) key += by;
  return keys;
}

// 1 for tokens of the range, else 0.
Tensor marked(const TokenRange& range, int64_t tokens) {
  std::vector<int64_t> labels(static_cast<size_t>(tokens));
  std::fill(labels.begin() + range.begin, labels.begin() + range.end, 1);
  return Tensor::from(std::span<const int64_t>(labels), {1, tokens});
}

}  // namespace

ImageText image_text(const SiteTokens& tokens) {
  return {.image_queries = range_of(tokens.query, "image"),
          .text_queries = range_of(tokens.query, "text"),
          .image_keys = range_of(tokens.key, "image"),
          .text_keys = range_of(tokens.key, "text")};
}

const TokenSegment& image_grid(const SiteTokens& tokens) {
  const auto found = std::ranges::find(tokens.query, "image", &TokenSegment::name);
  return found == tokens.query.end() ? tokens.query.front() : *found;
}

int64_t longer_side(const SiteTokens& tokens) {
  return std::max(image_grid(tokens).height, image_grid(tokens).width);
}

std::vector<SiteScope> image_sites(PlanBuilder& plan, const std::vector<std::string>& layers) {
  return plan.sites({.kinds = {AttentionKind::self, AttentionKind::joint},
                     .names = layers,
                     .text = "attention of the image to itself"});
}

std::vector<SiteScope> text_sites(PlanBuilder& plan, const std::vector<std::string>& layers) {
  return plan.sites({.kinds = {AttentionKind::cross, AttentionKind::joint},
                     .names = layers,
                     .text = "attention of the image to text"});
}

std::string image_segment(const SiteTokens& tokens) {
  return image_text(tokens).joint() ? "image" : "";
}

bool is_joint(const RunShape& run) {
  const auto has = [&](AttentionKind kind) {
    return std::ranges::any_of(run.sites, [kind](const AttentionSite& s) { return s.kind == kind; });
  };
  return has(AttentionKind::joint) && !has(AttentionKind::cross);
}

std::vector<std::string> layers_or(const std::vector<std::string>& layers, const RunShape& run,
                                   const std::vector<std::string>& levels, const std::string& share) {
  if (!layers.empty()) return layers;
  return is_joint(run) ? std::vector{share} : levels;
}

std::vector<int64_t> prompt_keys(const PromptTokens& prompt) {
  std::vector<int64_t> out;
  for (const PromptPart& part : prompt.text_parts()) {
    for (int64_t key = part.begin; key <= part.end && part.end > part.begin; ++key) out.push_back(key);
  }
  return out;
}

void capture_words(const SiteScope& site, Capture capture, const PromptTokens& prompt) {
  const ImageText at = image_text(site.tokens());
  if (at.joint()) capture.within = moved(prompt_keys(prompt), at.text_keys.begin);
  capture.keys = moved(std::move(capture.keys), at.text_keys.begin);
  site.declare(capture);
}

void capture_pixels(const SiteScope& site, Capture capture) {
  const ImageText at = image_text(site.tokens());
  if (at.joint()) capture.within = consecutive(at.image_keys);
  capture.keys = moved(std::move(capture.keys), at.image_keys.begin);
  site.declare(capture);
}

Tensor image_rows(const AttentionMap& map) {
  const TokenRange range = image_text(map.tokens).image_queries;
  const int axis = map.values.rank() == 4 ? 2 : 1;
  return range.size() == map.values.dim(axis) ? map.values : slice(map.values, axis, range.begin, range.end);
}

Tensor with_image(const Tensor& x, const TokenRange& image, const std::function<Tensor(const Tensor&)>& made) {
  return with_slice(x, 1, image.begin, made(slice(x, 1, image.begin, image.end)));
}

void check_places(const PlanBuilder& plan, KeyPlaces places, const std::vector<SiteScope>& sites) {
  const bool all = std::ranges::all_of(sites, [](const SiteScope& s) { return s.site().rotary; });
  if (places != KeyPlaces::own && !all)
    fail(ErrorCode::usage, plan.where() + " " + plan.method() + " positions",
         "own: these layers have no rotary positions to move", places == KeyPlaces::centre ? "centre" : "beside");
}

TermForm text_column(const Tensor& bias, const SiteTokens& tokens) {
  const ImageText at = image_text(tokens);
  if (!at.joint()) return Column{bias};
  const std::vector<float> values = bias.to_vector();
  std::vector<float> distinct(values);
  distinct.push_back(0);
  std::ranges::sort(distinct);
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const auto label = [&](float v) { return std::ranges::lower_bound(distinct, v) - distinct.begin(); };
  const int64_t rows = bias.dim(0), keys = token_count(tokens.key);
  std::vector<int64_t> classes(static_cast<size_t>(rows * keys), label(0));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t < at.text_keys.size(); ++t)
      classes[static_cast<size_t>(r * keys + at.text_keys.begin + t)] =
          label(values[static_cast<size_t>(r * at.text_keys.size() + t)]);
  }
  std::vector<float> table(distinct.size());  // of text queries: nothing
  table.insert(table.end(), distinct.begin(), distinct.end());
  return Labels{marked(at.image_queries, token_count(tokens.query)),
                Tensor::from(std::span<const int64_t>(classes), {rows, keys}),
                Tensor::from(std::span<const float>(table), {2, static_cast<int64_t>(distinct.size())})};
}

}  // namespace heddle
