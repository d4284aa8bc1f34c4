// Prompt-to-Prompt: what is edited where, cross- and self-attention, the blend. With P the source's map, M the
// alignment of tokens, a the gates, w the weights and s = 1 where the source has a token, a target's cross-attention
// gives
//   P (M diag(a s w) V) + P_own diag(1 - a + a (1 - s) w) V.
// Verbs: branch, take, shape, gain, capture. Stays fused.
#include "attention_control/plugins/prompt_to_prompt.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr const char* branch_name = "prompt_to_prompt";

// V [R,Nk,H,D] -> M V: each of the source's keys carries the values of the target tokens that it stands for.
Tensor mixed_values(const Tensor& v, const Tensor& matrix) {
  const Tensor flat = reshape(contiguous(v), {v.dim(0), v.dim(1), v.dim(2) * v.dim(3)});
  return reshape(matmul(repeat(to(matrix, v.dtype()), 0, v.dim(0)), flat), v.shape());
}

}  // namespace

void PromptToPrompt::check_words(const PlanBuilder& plan) const {
  const auto check = [&](const std::string& word, const char* key) {
    const std::vector<Member>& members = plan.run().members;
    const bool known = std::any_of(members.begin() + 1, members.end(),
                                   [&](const Member& m) { return !places_of(m.words, word).empty(); });
    if (!known) members[1].words.find(word, plan.where() + " " + key);
  };
  for (const auto& [word, gate] : gates_.words) check(word, "cross_replace");
  for (const auto& [word, weight] : weights.entries) check(word, "weights");
}

PromptToPrompt::Target PromptToPrompt::aligned(const PlanBuilder& plan, const PromptTokens& target) const {
  const PromptTokens& source = plan.run().members[0].words;
  const PromptEdit how = injected_ == Inject::maps ? edit.value_or(PromptEdit::replace) : PromptEdit::reweight;
  Target out{.alignment = how == PromptEdit::replace  ? replace_words(source, target, plan.where())
                          : how == PromptEdit::refine ? align_tokens(source, target)
                                                      : identity_alignment(source.length),
             .weights = std::vector<float>(static_cast<size_t>(target.length), 1),
             .words = target};
  for (const auto& [word, weight] : weights.entries) {
    for (const int64_t at : places_of(target, word)) out.weights[static_cast<size_t>(at)] = static_cast<float>(weight);
  }
  return out;
}

PromptToPrompt::Mixture PromptToPrompt::mixture(const Target& target, int step) const {
  const std::vector<float> open = open_tokens(gates_, target.words, step, steps_);
  Mixture out;
  for (size_t t = 0; t < open.size(); ++t) {
    const float edited = open[t] * target.weights[t], found = target.alignment.aligned[t];
    out.source.push_back(edited * found);
    out.own.push_back(1 - open[t] + edited * (1 - found));
  }
  return out;
}

void PromptToPrompt::edit_site(const SiteScope& site, const Target& target, const Mixture& mixture) {
  const auto slots = static_cast<int64_t>(mixture.own.size());
  if (token_count(site.tokens().key) != slots)
    fail(ErrorCode::internal, "prompt_to_prompt at " + site.site().name, std::to_string(slots) + " text keys",
         std::to_string(token_count(site.tokens().key)));
  const SiteScope branch = site.on(branch_name);
  site.declare(AddBranch{.name = branch_name});
  branch.declare(Take{.role = Role::q, .lane = source_lane});
  branch.declare(Take{.role = Role::k, .lane = source_lane});
  const auto row = [&](const std::vector<float>& values) {
    return Tensor::from(std::span<const float>(values), {1, slots});
  };
  const auto count = [](const std::vector<float>& values) {
    return std::to_string(std::ranges::count_if(values, [](float v) { return v != 0; }));
  };
  const std::string tokens = count(mixture.source) + " of " + std::to_string(slots) + " tokens";
  if (target.alignment.is_identity()) {
    branch.declare(Gain{.text = "values of " + tokens, .factors = row(mixture.source)});
  } else {
    std::vector<float> matrix = target.alignment.share;
    for (size_t i = 0; i < matrix.size(); ++i) matrix[i] *= mixture.source[i % mixture.source.size()];
    const Tensor m = Tensor::from(std::span<const float>(matrix), {1, slots, slots});
    branch.declare(
        Shaping{.role = Role::v,
                .function = {.text = "values of " + tokens + " aligned",
                             .apply = [m](const Tensor& v, const LaneTensors&) { return mixed_values(v, m); }}});
  }
  if (std::ranges::all_of(mixture.own, [](float g) { return g == 0; })) {
    site.declare(Weigh{.text = "without its own map", .constant = 0});
  } else {
    site.declare(Gain{.text = "own map of " + count(mixture.own) + " tokens", .factors = row(mixture.own)});
  }
}

void PromptToPrompt::edit_words(PlanBuilder& plan, int member) const {
  const Target& target = targets_[static_cast<size_t>(member - 1)];
  const auto pixels = [this](int step) { return is_open(self_replace, step, steps_); };
  for (const SiteScope& site : text_sites(plan)) {
    const bool joint = image_text(site.tokens()).joint();
    for (int begin = 0, end = 0; begin < steps_; begin = end) {
      const Mixture now = mixture(target, begin);
      const bool pixels_now = joint && pixels(begin);
      for (end = begin + 1; end < steps_ && mixture(target, end) == now && (joint && pixels(end)) == pixels_now;) ++end;
      const bool nothing = std::ranges::all_of(now.source, [](float g) { return g == 0; }) &&
                           std::ranges::all_of(now.own, [](float g) { return g == 1; });
      const SiteScope here = site.lane(Branch::cond).member(member).during({begin, end});
      if (joint && !(nothing && !pixels_now)) rewrite_rows(here, target, now, pixels_now);
      if (!joint && !nothing) edit_site(here, target, now);
    }
  }
}

void PromptToPrompt::edit_pixels(PlanBuilder& plan) const {
  Steps open{steps_, 0};
  for (int step = 0; step < steps_; ++step) {
    if (is_open(self_replace, step, steps_)) open = {std::min(open.begin, step), step + 1};
  }
  if (open.empty()) return;
  std::vector<SiteScope> sites = image_sites(plan);
  // Rows of joint maps are put together elsewhere.
  if (injected_ == Inject::maps)
    std::erase_if(sites, [](const SiteScope& s) { return image_text(s.tokens()).joint(); });
  const auto pixels = [](const SiteScope& s) { return image_grid(s.tokens()).tokens(); };
  int64_t most = self_max_tokens.value_or(256), least = std::numeric_limits<int64_t>::max();
  for (const SiteScope& site : sites) least = std::min(least, pixels(site));
  if (!self_max_tokens) most = std::max(most, least);
  std::erase_if(sites, [&](const SiteScope& s) { return pixels(s) > most; });
  if (sites.empty() && !is_joint(plan.run()))
    fail(ErrorCode::usage, plan.where() + " self_max_tokens",
         "at least the " + std::to_string(least) + " pixels of the smallest layer", std::to_string(most));
  for (const SiteScope& site : sites) {
    for (int member = 1; member <= static_cast<int>(targets_.size()); ++member) {
      for (const Role role : {Role::q, Role::k})
        site.lane(Branch::cond)
            .member(member)
            .during(open)
            .declare(Take{.role = role, .lane = source_lane, .segment = image_segment(site.tokens())});
    }
  }
}

// The columns of a target's edited map, for the blend.
LocalBlend::Edited PromptToPrompt::edited_maps() const {
  if (injected_ == Inject::qk_image) return {};  // the target's map is read as edited
  const auto weights = [this](int member, int step, const std::vector<int64_t>& words) {
    const Target& target = targets_[static_cast<size_t>(member - 1)];
    const Mixture now = mixture(target, step);
    const auto slots = static_cast<size_t>(target.alignment.slots);
    ColumnWeights out{std::vector<float>(slots, 0), std::vector<float>(slots, 0)};
    for (const int64_t word : words) {
      out.own[static_cast<size_t>(word)] = now.own[static_cast<size_t>(word)];
      for (int64_t c = 0; c < target.alignment.slots; ++c)
        out.source[static_cast<size_t>(c)] += target.alignment.at(c, word) * now.source[static_cast<size_t>(word)];
    }
    return out;
  };
  const auto reads = [this](int member, const std::vector<int64_t>& words) {
    const TokenAlignment& alignment = targets_[static_cast<size_t>(member - 1)].alignment;
    std::vector<int64_t> out;
    for (int64_t c = 0; c < alignment.slots; ++c) {
      if (std::ranges::any_of(words, [&](int64_t word) { return alignment.at(c, word) != 0; })) out.push_back(c);
    }
    return out;
  };
  return {weights, reads};
}

// What the network makes of settings that were not given.
void PromptToPrompt::settle(const PlanBuilder& plan) {
  steps_ = plan.run().steps;
  injected_ = inject.value_or(is_joint(plan.run()) ? Inject::qk_image : Inject::maps);
  const bool maps = injected_ == Inject::maps;
  gates_ = cross_replace.value_or(WordGates{.all = {0, maps ? 0.8 : 1}, .words = {}});
  if (!maps && edit)
    fail(ErrorCode::usage, plan.where() + " edit", "inject: maps, or no edit: words stay the target's",
         "inject: qk_image");
  if (!maps && cross_replace && weights.entries.empty())
    fail(ErrorCode::usage, plan.where() + " cross_replace", "weights, or inject: maps",
         "inject: qk_image without weights");
}

void PromptToPrompt::declare(PlanBuilder& plan) {
  settle(plan);
  check_words(plan);
  for (size_t m = 1; m < plan.run().members.size(); ++m) targets_.push_back(aligned(plan, plan.run().members[m].words));
  for (int member = 1; member <= static_cast<int>(targets_.size()); ++member) {
    if (injected_ == Inject::maps) {
      edit_words(plan, member);
    } else {
      weigh_words(plan, member);
    }
  }
  edit_pixels(plan);
  if (local_blend) blend_.declare(plan, *local_blend, edited_maps());
}

namespace {

REGISTER_METHOD(prompt_to_prompt, PromptToPrompt,
                "edits a picture by editing its prompt; what is not named stays where it was",
                "Hertz et al. 2023, Prompt-to-Prompt, arXiv 2208.01626");

}  // namespace
}  // namespace heddle
