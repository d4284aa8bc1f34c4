// Prompt-to-Prompt: a picture is edited by editing its prompt, since the target attends where the source did. Hertz et
// al. 2023, arXiv 2208.01626; gates and alignments of the official code. With P the source's map, M the alignment of
// tokens, a the gates, w the weights and s = 1 where the source has a token, a target's cross-attention gives
//   P (M diag(a s w) V) + P_own diag(1 - a + a (1 - s) w) V.
// Verbs: branch, take, shape, gain, capture. Stays fused.
#include <algorithm>

#include "attention_control/plugins/local_blend.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_alignment.h"
#include "attention_control/plugins/word_gates.h"
#include "kernels/core/error.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class PromptEdit : uint8_t { replace, refine, reweight };

}  // namespace
template <>
struct ParamWords<PromptEdit> {
  static constexpr std::array words{"replace", "refine", "reweight"};
};
namespace {

constexpr const char* branch_name = "prompt_to_prompt";

// V [R,Nk,H,D] -> M V: each of the source's keys carries the values of the target tokens that it stands for.
Tensor mixed_values(const Tensor& v, const Tensor& matrix) {
  const Tensor flat = reshape(contiguous(v), {v.dim(0), v.dim(1), v.dim(2) * v.dim(3)});
  return reshape(matmul(repeat(to(matrix, v.dtype()), 0, v.dim(0)), flat), v.shape());
}

struct PromptToPrompt final : Method {
  std::string source_prompt;
  OneOrMany<std::string> target_prompt;
  PromptEdit edit = PromptEdit::replace;
  WordGates cross_replace{.all = {0, 0.8}, .words = {}};
  Gate self_replace{0, 0.4};
  std::optional<int> self_max_tokens;
  Named<double> weights;
  std::optional<LocalBlendSettings> local_blend;

  static Params<PromptToPrompt> params() {
    using M = PromptToPrompt;
    return {need("source_prompt", &M::source_prompt, "what the first picture shows"),
            need("target_prompt", &M::target_prompt, "what it shall show instead; several make several pictures"),
            opt("edit", &M::edit, "replace: word for word; refine: words added; reweight: words weighed only"),
            opt("cross_replace", &M::cross_replace, "shares of steps in which cross-attention follows the source"),
            opt("self_replace", &M::self_replace, "shares of steps in which self-attention follows the source"),
            opt("self_max_tokens", &M::self_max_tokens, range(1, 1 << 20),
                "largest self-attention that follows; 256, or the smallest there is, if not given"),
            opt("weights", &M::weights, range(-1000, 1000), "words of the target: factors of their attention"),
            opt("local_blend", &M::local_blend, "keeps the source outside the places of some words")};
  }

  std::optional<MethodPrompts> prompts() const override {
    MethodPrompts out{.members = {{"source", source_prompt}}, .shared_noise = true};
    for (size_t i = 0; i < target_prompt.values.size(); ++i)
      out.members.emplace_back(i == 0 ? "target" : "target" + std::to_string(i + 1), target_prompt.values[i]);
    return out;
  }

  void declare(PlanBuilder& plan) override;

 private:
  struct Target {
    TokenAlignment alignment;
    std::vector<float> weights;
    PromptTokens words;
  };
  // How source and own columns make a target's map at a step: by target token.
  struct Mixture {
    std::vector<float> source, own;
    bool operator==(const Mixture&) const = default;
  };
  void check_words(const PlanBuilder& plan) const;
  Target aligned(const PlanBuilder& plan, const PromptTokens& target) const;
  Mixture mixture(const Target& target, int step) const;
  void edit_cross(PlanBuilder& plan, int member) const;
  void edit_self(PlanBuilder& plan) const;
  static void edit_site(const SiteScope& site, const Target& target, const Mixture& mixture);
  LocalBlend::Edited edited_maps() const;

  std::vector<Target> targets_;  // of members 1 ...
  int steps_ = 1;
  LocalBlend blend_;
};

void PromptToPrompt::check_words(const PlanBuilder& plan) const {
  const auto check = [&](const std::string& word, const char* key) {
    const std::vector<Member>& members = plan.run().members;
    const bool known = std::any_of(members.begin() + 1, members.end(),
                                   [&](const Member& m) { return !places_of(m.words, word).empty(); });
    if (!known) members[1].words.find(word, plan.where() + " " + key);
  };
  for (const auto& [word, gate] : cross_replace.words) check(word, "cross_replace");
  for (const auto& [word, weight] : weights.entries) check(word, "weights");
}

PromptToPrompt::Target PromptToPrompt::aligned(const PlanBuilder& plan, const PromptTokens& target) const {
  const PromptTokens& source = plan.run().members[0].words;
  Target out{.alignment = edit == PromptEdit::replace  ? replace_words(source, target, plan.where())
                          : edit == PromptEdit::refine ? align_tokens(source, target)
                                                       : identity_alignment(source.length),
             .weights = std::vector<float>(static_cast<size_t>(target.length), 1),
             .words = target};
  for (const auto& [word, weight] : weights.entries) {
    for (const int64_t at : places_of(target, word)) out.weights[static_cast<size_t>(at)] = static_cast<float>(weight);
  }
  return out;
}

PromptToPrompt::Mixture PromptToPrompt::mixture(const Target& target, int step) const {
  const std::vector<float> open = open_tokens(cross_replace, target.words, step, steps_);
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
  branch.declare(Take{.role = Role::q, .lane = {.branch = {}, .member = 0}});
  branch.declare(Take{.role = Role::k, .lane = {.branch = {}, .member = 0}});
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

void PromptToPrompt::edit_cross(PlanBuilder& plan, int member) const {
  const Target& target = targets_[static_cast<size_t>(member - 1)];
  const std::vector<SiteScope> sites =
      plan.sites({.kinds = {AttentionKind::cross}, .names = {}, .text = "cross-attention"});
  for (int begin = 0, end = 0; begin < steps_; begin = end) {
    const Mixture now = mixture(target, begin);
    for (end = begin + 1; end < steps_ && mixture(target, end) == now;) ++end;
    if (std::ranges::all_of(now.source, [](float g) { return g == 0; }) &&
        std::ranges::all_of(now.own, [](float g) { return g == 1; }))
      continue;
    for (const SiteScope& site : sites)
      edit_site(site.lane(Branch::cond).member(member).during({begin, end}), target, now);
  }
}

void PromptToPrompt::edit_self(PlanBuilder& plan) const {
  Steps open{steps_, 0};
  for (int step = 0; step < steps_; ++step) {
    if (is_open(self_replace, step, steps_)) open = {std::min(open.begin, step), step + 1};
  }
  if (open.empty()) return;
  int64_t most = self_max_tokens.value_or(256), least = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < plan.run().sites.size(); ++i) {
    if (plan.run().sites[i].kind == AttentionKind::self)
      least = std::min(least, token_count(plan.run().tokens[i].query));
  }
  if (!self_max_tokens) most = std::max(most, least);
  const auto sites = plan.sites({.kinds = {AttentionKind::self},
                                 .names = {},
                                 .also = [most](const SiteScope& s) { return token_count(s.tokens().query) <= most; },
                                 .text = "self-attention of at most " + std::to_string(most) + " tokens"});
  for (const SiteScope& site : sites) {
    for (int member = 1; member <= static_cast<int>(targets_.size()); ++member) {
      for (const Role role : {Role::q, Role::k})
        site.lane(Branch::cond)
            .member(member)
            .during(open)
            .declare(Take{.role = role, .lane = {.branch = {}, .member = 0}});
    }
  }
}

// The columns of a target's edited map, for the blend.
LocalBlend::Edited PromptToPrompt::edited_maps() const {
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

void PromptToPrompt::declare(PlanBuilder& plan) {
  steps_ = plan.run().steps;
  check_words(plan);
  for (size_t m = 1; m < plan.run().members.size(); ++m) targets_.push_back(aligned(plan, plan.run().members[m].words));
  for (int member = 1; member <= static_cast<int>(targets_.size()); ++member) edit_cross(plan, member);
  edit_self(plan);
  if (local_blend) blend_.declare(plan, *local_blend, edited_maps());
}

REGISTER_METHOD(prompt_to_prompt, PromptToPrompt,
                "edits a picture by editing its prompt; what is not named stays where it was",
                "Hertz et al. 2023, Prompt-to-Prompt, arXiv 2208.01626");

}  // namespace
}  // namespace heddle
