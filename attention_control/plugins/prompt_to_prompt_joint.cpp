// Prompt-to-Prompt in joint attention. qk_image (Shin et al. 2025, arXiv 2508.07519): the source's pixels give queries
// and keys, text stays the target's, words are weighed by log weights of the pixels' scores, or by their values where a
// weight is not positive; fused. maps: a pixel's row is put together from the source's columns of words, aligned, and
// its block of pixels, and sums to 1 again; that needs the maps themselves.
#include <algorithm>
#include <cmath>

#include "attention_control/plugins/prompt_to_prompt.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

Tensor row_of(const std::vector<float>& values) {
  return Tensor::from(std::span<const float>(values), {1, static_cast<int64_t>(values.size())});
}

// [R,H,Nx,T] times the alignment of tokens [T,T].
Tensor aligned_columns(const Tensor& columns, const TokenAlignment& alignment) {
  const int64_t slots = alignment.slots;
  const Tensor matrix = Tensor::from(std::span<const float>(alignment.share), {1, slots, slots});
  return reshape(matmul(reshape(contiguous(columns), {1, columns.count() / slots, slots}), matrix), columns.shape());
}

}  // namespace

void PromptToPrompt::weigh_words(PlanBuilder& plan, int member) const {
  if (weights.entries.empty()) return;
  const Target& target = targets_[static_cast<size_t>(member - 1)];
  const auto open_at = [&](int step) { return open_tokens(gates_, target.words, step, steps_); };
  for (const SiteScope& site : text_sites(plan)) {
    const TokenRange text = image_text(site.tokens()).text_keys;
    for (int begin = 0, end = 0; begin < steps_; begin = end) {
      const std::vector<float> open = open_at(begin);
      for (end = begin + 1; end < steps_ && open_at(end) == open;) ++end;
      std::vector<float> logs(open.size(), 0), gains(static_cast<size_t>(token_count(site.tokens().key)), 1);
      for (size_t t = 0; t < open.size(); ++t) {
        const float w = open[t] != 0 ? target.weights[t] : 1;
        (w > 0 ? logs[t] : gains[static_cast<size_t>(text.begin) + t]) = w > 0 ? std::log(w) : w;
      }
      const SiteScope here = site.lane(Branch::cond).member(member).during({begin, end});
      here.declare(AddScore{{.text = "log weights of words", .form = text_column(row_of(logs), site.tokens())}});
      here.declare(Gain{"values of words", row_of(gains)});
    }
  }
}

void PromptToPrompt::rewrite_rows(const SiteScope& site, const Target& target, const Mixture& mixture,
                                  bool pixels) const {
  const ImageText at = image_text(site.tokens());
  const Tensor theirs = reshape(row_of(mixture.source), {1, 1, 1, target.alignment.slots});
  const Tensor own = reshape(row_of(mixture.own), {1, 1, 1, target.alignment.slots});
  const auto apply = [at, theirs, own, pixels, &alignment = target.alignment](const Tensor& map,
                                                                              const LaneTensors& lanes) {
    const auto part = [&](const Tensor& x, const TokenRange& keys) {
      return slice(slice(x, 2, at.image_queries.begin, at.image_queries.end), 3, keys.begin, keys.end);
    };
    const Tensor source = lanes.map(source_lane);
    const Tensor words = add(multiply(aligned_columns(part(source, at.text_keys), alignment), theirs),
                             multiply(part(map, at.text_keys), own));
    const Tensor block = part(pixels ? source : map, at.image_keys);
    const Tensor total = add(sum(words, {3}, Axes::keep), sum(block, {3}, Axes::keep));
    Tensor rows = slice(map, 2, at.image_queries.begin, at.image_queries.end);
    rows = with_slice(rows, 3, at.text_keys.begin, divide(words, total));
    rows = with_slice(rows, 3, at.image_keys.begin, divide(block, total));
    return with_slice(map, 2, at.image_queries.begin, rows);
  };
  site.declare(Rewrite{.reason = "pixels' rows are put together from two maps and sum to 1 again", .apply = apply});
}

}  // namespace heddle
