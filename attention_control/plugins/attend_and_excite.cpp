// Attend-and-Excite: while sampling, the latents are moved so that each named subject owns some part of the picture.
// Chefer et al. 2023, arXiv 2301.13826; constants of the official code. Verbs: capture, loss. Stays fused.
#include <charconv>
#include <cmath>
#include <map>
#include <vector>

#include "attention_control/plugins/cross_maps.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_words.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/softmax.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

struct Smoothing {
  int kernel = 3;
  double sigma = 0.5;
  KernelRule rule = KernelRule::official;
  static Params<Smoothing> params() {
    return {opt("kernel", &Smoothing::kernel, range(1, 15), "side of the kernel, odd; 1 smooths nothing"),
            opt("sigma", &Smoothing::sigma, range(0.01, 10), "width of the kernel in pixels of the map"),
            opt("rule", &Smoothing::rule, "official: exp(-(d / 2 sigma)^2), on which the thresholds rest")};
  }
};

double share_of(const std::string& text) {
  double share = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  return error == std::errc() && end == text.data() + text.size() ? share : -1;
}

struct AttendAndExcite final : Method {
  std::vector<TokenWords> subject_tokens;
  std::optional<int> attention_res;
  std::vector<std::string> layers;
  double steps_fraction = 0.5;
  Named<double> thresholds{{{"0", 0.05}, {"0.2", 0.5}, {"0.4", 0.8}}};
  int max_refine_iters = 20;
  double scale = 20;
  std::array<double, 2> scale_range{1.0, 0.5};
  StepRule step_rule = StepRule::sqrt;
  Smoothing smooth;
  std::optional<TextRange> text_range;

  static Params<AttendAndExcite> params() {
    using M = AttendAndExcite;
    return {
        need("subject_tokens", &M::subject_tokens, "the subjects: words of the prompt or token positions"),
        opt("attention_res", &M::attention_res, range(1, 1024), map_grid_help),
        opt("layers", &M::layers, map_layers_help),
        opt("steps_fraction", &M::steps_fraction, range(0, 1), "share of steps in which the latents are moved"),
        opt("thresholds", &M::thresholds, range(0, 1), "share of the run: peak that every subject must reach there"),
        opt("max_refine_iters", &M::max_refine_iters, range(0, 1000), "most updates at a threshold"),
        opt("scale", &M::scale, range(0, 1e6), "length of a step along the gradient"),
        opt("scale_range", &M::scale_range, range(0, 10), "factors of the length at the first and last step"),
        opt("step_rule", &M::step_rule, "sqrt is the official code, linear the paper"),
        opt("smooth", &M::smooth, "smoothing of the maps"),
        opt("text_range", &M::text_range,
            "tokens that compete: to_last for SD 1, to_eot for SD 2; not given: to_last, SD3 and FLUX to_eot")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  Tensor loss(const Captures& captures) const;
  Tensor subject_loss(const TokenSegment& grid, const Tensor& words, size_t member, size_t subject) const;
  Verdict decide(int step, int iteration, double loss);
  void guide(PlanBuilder& plan, const std::vector<SiteScope>& sites, Steps steps);

  // Places in columns_ of one subject's words, for each encoder of text.
  using Subject = std::vector<std::vector<int64_t>>;

  std::vector<std::vector<int64_t>> columns_;   // of each member
  std::vector<std::vector<Subject>> subjects_;  // of each member
  std::vector<double> kernel_;
  std::map<int, double> peaks_;  // wanted at steps
  int altered_ = 0;              // steps before this one get an ordinary update
  bool refining_ = false;
};

void AttendAndExcite::declare(PlanBuilder& plan) {
  if (scale == 0) return;
  for (const auto& [share, wanted] : thresholds.entries) {
    if (!(share_of(share) >= 0 && share_of(share) <= 1))
      fail(ErrorCode::usage, plan.where() + " thresholds", "shares of the run, 0 to 1", "\"" + share + "\"");
    peaks_[plan.steps(0, share_of(share)).end] = wanted;
  }
  if (smooth.kernel % 2 == 0)
    fail(ErrorCode::usage, plan.where() + " smooth.kernel", "an odd side", std::to_string(smooth.kernel));
  kernel_ = smoothing_kernel(smooth.kernel, smooth.sigma, smooth.rule);
  for (const Member& member : plan.run().members) {
    columns_.push_back(word_columns(member.words, text_range_of(text_range, plan.run(), plan.where())));
    std::vector<Subject>& subjects = subjects_.emplace_back();
    for (const TokenWords& tokens : subject_tokens) {
      Subject& subject = subjects.emplace_back();
      for (const auto& part : member.words.by_part(tokens.positions(member.words, plan.where())))
        subject.push_back(places_in(columns_.back(), part, plan.where()));
    }
  }
  const std::vector<SiteScope> sites = map_sites(plan, {attention_res, layers});
  altered_ = plan.steps(0, steps_fraction).end;
  guide(plan, sites, {0, altered_});
  for (const auto& [step, peak] : peaks_) {  // thresholds hold behind the ordinary updates, too
    if (step >= altered_ && step < plan.run().steps) guide(plan, sites, {step, step + 1});
  }
}

void AttendAndExcite::guide(PlanBuilder& plan, const std::vector<SiteScope>& sites, Steps steps) {
  for (const SiteScope& site : sites) {
    for (int m = 0; m < static_cast<int>(columns_.size()); ++m) {
      const auto member = static_cast<size_t>(m);
      capture_words(site.lane(Branch::cond).member(m).during(steps).passes({Pass::guide}),
                    {.name = "attend_and_excite", .keys = columns_[member]}, plan.run().members[member].words);
    }
  }
  plan.hooks.guides.push_back(
      {.method = "attend_and_excite",
       .steps = steps,
       .loss = [this](const Captures& captures, const Moment&) { return loss(captures); },
       .length = [this, total = plan.run().steps](
                     int step) { return step_length(scale, scale_range, step_rule, step, total); },
       .decide = [this](int step, int iteration, double value) { return decide(step, iteration, value); }});
}

// Only the worst subject drives: L = max over subjects of max(0, 1 - peak of its map).
Tensor AttendAndExcite::loss(const Captures& captures) const {
  const std::vector<AttentionMap>& maps = captures.at("attend_and_excite");
  Tensor total = Tensor::zeros({});
  for (const Lane& lane : lanes_of(maps)) {
    const auto member = static_cast<size_t>(lane.member);
    for (int64_t row = 0; row < lane.rows(); ++row) {
      const Tensor words = softmax(heddle::scale(mean_map(maps, lane, row), 100));  // [Nq,T]
      Tensor worst;
      for (size_t s = 0; s < subjects_[member].size(); ++s) {
        const Tensor one = subject_loss(image_grid(maps.front().tokens), words, member, s);
        worst = worst.defined() ? maximum(worst, one) : one;
      }
      total = add(total, worst);
    }
  }
  return total;
}

// A pixel sees the piece of the word that it sees best; what two encoders say of a word adds up.
Tensor AttendAndExcite::subject_loss(const TokenSegment& grid, const Tensor& words, size_t member,
                                     size_t subject) const {
  Tensor map;
  for (const std::vector<int64_t>& part : subjects_[member][subject]) {
    Tensor best;
    for (const int64_t column : part) {
      const Tensor one = reshape(slice(words, 1, column, column + 1), {words.dim(0)});
      const Tensor smoothed = heddle::smooth(one, grid.height, grid.width, kernel_);
      best = best.defined() ? maximum(best, smoothed) : smoothed;
    }
    map = map.defined() ? add(map, best) : best;
  }
  return maximum(Tensor::zeros({}), add_constant(heddle::scale(max(map, 0), -1), 1));
}

// As the official code: while the loss that an update began from is above the threshold's, another update follows; then
// comes the step's ordinary one.
Verdict AttendAndExcite::decide(int step, int iteration, double loss) {
  const auto wanted = peaks_.find(step);
  const bool above = wanted != peaks_.end() && loss > 1 - wanted->second;
  if (iteration == 0) refining_ = above && max_refine_iters > 0;
  if (refining_) {
    refining_ = above && iteration + 1 < max_refine_iters;
    return {.update = true, .again = true};
  }
  return {.update = step < altered_ && loss != 0, .again = false};
}

REGISTER_METHOD(attend_and_excite, AttendAndExcite, "makes every named subject appear",
                "Chefer et al. 2023, Attend-and-Excite, arXiv 2301.13826");

}  // namespace
}  // namespace heddle
