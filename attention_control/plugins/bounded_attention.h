// Bounded Attention as a struct: its parameters, and what a run of it keeps. bounded_attention.cpp declares its edits,
// bounded_masks.cpp makes the masks, bounded_maps.cpp the loss and the refined regions.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/regions.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_words.h"

namespace heddle {

struct BoundedGuidance {
  double steps_fraction = 0.3, stop = 0.2, step_start = 8, step_end = 2;
  int iters = 5;
  static Params<BoundedGuidance> params() {
    using M = BoundedGuidance;
    return {opt("steps_fraction", &M::steps_fraction, range(0, 1), "share of steps in which the latents are moved"),
            opt("iters", &M::iters, range(1, 1000), "most updates in one step"),
            opt("stop", &M::stop, range(0, 1e6), "no further update once the loss for each subject is below"),
            opt("step_start", &M::step_start, range(0, 1e6), "length of an update at the first step (SDXL: 18)"),
            opt("step_end", &M::step_end, range(0, 1e6), "towards the end of the guided steps (SDXL: 5)")};
  }
};

struct BoundedRefinement {
  double start_fraction = 0.3;
  int every = 5;
  int clusters_per_subject = 3;
  double tau_noun = 0.2, sharp = 10, tau_cluster = 0.2;
  static Params<BoundedRefinement> params() {
    using M = BoundedRefinement;
    return {opt("start_fraction", &M::start_fraction, range(0, 1),
                "share of the run from which regions follow the maps; 1 never"),
            opt("every", &M::every, range(1, 100000), "steps from one refinement to the next"),
            opt("clusters_per_subject", &M::clusters_per_subject, range(1, 100), "clusters of pixels for each subject"),
            opt("tau_noun", &M::tau_noun, range(0, 1), "middle of the soft threshold on a noun's map"),
            opt("sharp", &M::sharp, range(0, 1000), "its steepness"),
            opt("tau_cluster", &M::tau_cluster, range(0, 1), "clusters that overlap no noun by this are background")};
  }
};

using MaskRows = std::vector<std::vector<int>>;
struct BoundedAttention final : Method {
  std::vector<std::array<double, 4>> boxes;
  std::vector<TokenWords> subject_tokens;
  std::vector<TokenWords> noun_tokens;
  std::optional<TokenWordsOrNone> filter_tokens;
  std::optional<int> eos_token;
  std::vector<MaskRows> masks;
  std::vector<std::string> loss_layers, mask_layers;
  bool isolate_words = false;
  double cross_loss = 1.5, self_loss = 0.5;
  BoundedGuidance guidance;
  BoundedRefinement refine;

  static Params<BoundedAttention> params() {
    using M = BoundedAttention;
    return {
        opt("boxes", &M::boxes, range(0, 1), "a box for each subject: x0, y0, x1, y1 as shares of the picture, y down"),
        need("subject_tokens", &M::subject_tokens, "the words or tokens of each subject, adjectives too"),
        opt("noun_tokens", &M::noun_tokens, "the noun of each subject; its last token if not given"),
        opt("filter_tokens", &M::filter_tokens,
            "words that nobody sees; articles, conjunctions and prepositions if not given"),
        opt("eos_token", &M::eos_token, range(0, 1 << 20),
            "the end token, hidden from the background; found if not given"),
        opt("masks", &M::masks, range(0, 1), "in place of boxes: rows of 0 and 1, one mask for each subject"),
        opt("loss_layers", &M::loss_layers,
            "sites of the loss, beginnings of names or shares of depth; middle and first way up, of a transformer "
            "\"0.375..0.625\", if not given"),
        opt("mask_layers", &M::mask_layers,
            "sites whose maps refine the regions; the first way up, of a transformer \"0.375..0.625\", if not given"),
        opt("isolate_words", &M::isolate_words,
            "in joint attention a subject's words do not look at another subject's words either"),
        opt("cross_loss", &M::cross_loss, range(0, 1000), "weight of the loss on cross-attention"),
        opt("self_loss", &M::self_loss, range(0, 1000), "weight of the loss on self-attention"),
        opt("guidance", &M::guidance, "how the latents are moved"),
        opt("refine", &M::refine, "how regions follow what is drawn")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  struct Tokens {                                       // of one member
    std::vector<std::vector<int64_t>> subjects, nouns;  // a noun for each encoder of text
    std::vector<int64_t> looked;                        // all subjects' tokens and the end tokens, ascending
    std::set<int64_t> filtered, ends;
    int64_t length = 0;
    std::vector<int64_t> all_nouns() const;
  };
  using Picture = std::pair<int, int64_t>;  // member, picture
  struct Drawn {                            // sums over the denoising passes so far
    std::vector<float> self, nouns;
    int64_t self_maps = 0, noun_maps = 0;
    std::vector<float> centres;
    std::vector<RegionMask> regions;  // empty: the first ones
  };

  size_t subjects() const { return subject_tokens.size(); }
  Tokens resolve(const Member& member, const std::string& where) const;
  void choose_layers(const PlanBuilder& plan);
  void declare_masks(PlanBuilder& plan);
  void declare_loss(PlanBuilder& plan);
  void declare_refinement(PlanBuilder& plan);

  std::vector<RegionMask> first_regions(int64_t height, int64_t width) const;
  std::vector<RegionMask> regions_at(const Picture& picture, const TokenSegment& grid) const;
  std::vector<uint64_t> pixels_at(const TermPlace& place) const;
  std::vector<uint64_t> words_at(const TermPlace& place) const;
  bool sees(uint64_t query, uint64_t key, bool guiding) const;
  std::vector<TermForm> mask(const TermPlace& place) const;
  Tensor loss(const Captures& captures) const;
  Tensor own_columns(const AttentionMap& map, int64_t row, const Tokens& of, size_t subject, bool cross) const;
  Tensor subject_terms(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row, bool cross) const;
  Tensor noun_columns(const AttentionMap& map) const;
  void collect(const Captures& captures);
  void follow();

  std::vector<Tokens> tokens_;
  std::map<Picture, Drawn> drawn_;
  int64_t region_height_ = 0, region_width_ = 0;  // the grid on which regions are refined
  int guided_ = 0, follow_from_ = 0;
  bool joint_ = false;
};

}  // namespace heddle
