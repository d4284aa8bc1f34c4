// Prompt-to-Prompt as a struct: a picture is edited by editing its prompt, since the target attends where the source
// did. Hertz et al. 2023, arXiv 2208.01626; gates and alignments of the official code. prompt_to_prompt.cpp has cross-
// and self-attention, prompt_to_prompt_joint.cpp what joint attention needs beside.
#pragma once

#include <optional>

#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/local_blend.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_alignment.h"
#include "attention_control/plugins/word_gates.h"

namespace heddle {

enum class PromptEdit : uint8_t { replace, refine, reweight };
template <>
struct ParamWords<PromptEdit> {
  static constexpr std::array words{"replace", "refine", "reweight"};
};
enum class Inject : uint8_t { maps, qk_image };
template <>
struct ParamWords<Inject> {
  static constexpr std::array words{"maps", "qk_image"};
};

struct PromptToPrompt final : Method {
  std::string source_prompt;
  OneOrMany<std::string> target_prompt;
  std::optional<Inject> inject;
  std::optional<PromptEdit> edit;
  std::optional<WordGates> cross_replace;
  Gate self_replace{0, 0.4};
  std::optional<int> self_max_tokens;
  Named<double> weights;
  std::optional<LocalBlendSettings> local_blend;

  static Params<PromptToPrompt> params() {
    using M = PromptToPrompt;
    return {
        need("source_prompt", &M::source_prompt, "what the first picture shows"),
        need("target_prompt", &M::target_prompt, "what it shall show instead; several make several pictures"),
        opt("inject", &M::inject,
            "maps: the source's maps, word by word; qk_image: its pixels' queries and keys alone; maps on UNets and "
            "qk_image on SD3 and FLUX if not given"),
        opt("edit", &M::edit,
            "of maps; replace (if not given): word for word; refine: words added; reweight: words weighed only"),
        opt("cross_replace", &M::cross_replace,
            "shares of steps in which words are looked at as the source does, 0.8 if not given; of qk_image those in "
            "which weights hold, all if not given"),
        opt("self_replace", &M::self_replace, "shares of steps in which pixels look at pixels as the source's do"),
        opt("self_max_tokens", &M::self_max_tokens, range(1, 1 << 20),
            "most pixels of a layer that follows; 256, or the smallest there is, if not given"),
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
  static constexpr LaneRef source_lane{.branch = {}, .member = 0};
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
  void settle(const PlanBuilder& plan);
  void edit_words(PlanBuilder& plan, int member) const;
  void edit_pixels(PlanBuilder& plan) const;
  void weigh_words(PlanBuilder& plan, int member) const;
  void rewrite_rows(const SiteScope& site, const Target& target, const Mixture& mixture, bool pixels) const;
  static void edit_site(const SiteScope& site, const Target& target, const Mixture& mixture);
  LocalBlend::Edited edited_maps() const;

  std::vector<Target> targets_;  // of members 1 ...
  int steps_ = 1;
  Inject injected_ = Inject::maps;
  WordGates gates_;
  LocalBlend blend_;
};

}  // namespace heddle
