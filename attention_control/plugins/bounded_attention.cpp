// Bounded Attention: each subject looks only at itself, the background and its own words, and early steps pull its
// attention into its box. Dahary et al. 2024, "Be Yourself", arXiv 2403.16990; constants of the official code.
// Verbs: mask, capture, loss. Stays fused.
#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "attention_control/plugins/cross_maps.h"
#include "attention_control/plugins/noun_phrases.h"
#include "attention_control/plugins/regions.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_words.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

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
constexpr float forbidden = -std::numeric_limits<float>::infinity();

struct BoundedAttention final : Method {
  std::vector<std::array<double, 4>> boxes;
  std::vector<TokenWords> subject_tokens;
  std::vector<TokenWords> noun_tokens;
  std::optional<TokenWords> filter_tokens;
  std::optional<int> eos_token;
  std::vector<MaskRows> masks;
  std::vector<std::string> loss_layers, mask_layers;
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
            "sites of the loss, or beginnings of names; middle and first way up if not given"),
        opt("mask_layers", &M::mask_layers, "sites whose maps refine the regions; the first way up if not given"),
        opt("cross_loss", &M::cross_loss, range(0, 1000), "weight of the loss on cross-attention"),
        opt("self_loss", &M::self_loss, range(0, 1000), "weight of the loss on self-attention"),
        opt("guidance", &M::guidance, "how the latents are moved"),
        opt("refine", &M::refine, "how regions follow what is drawn")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  struct Tokens {  // of one member
    std::vector<std::vector<int64_t>> subjects;
    std::vector<int64_t> nouns, looked;  // looked: all subjects' tokens and the end token, ascending
    std::set<int64_t> filtered;
    int64_t end = 0, length = 0;
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
  std::vector<uint32_t> members_at(const TermPlace& place) const;
  std::vector<TermForm> self_mask(const TermPlace& place) const;
  std::vector<TermForm> cross_mask(const TermPlace& place, bool guiding) const;
  Tensor loss(const Captures& captures) const;
  Tensor subject_terms(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row, bool cross) const;
  void collect(const Captures& captures);
  void follow(int step);

  std::vector<Tokens> tokens_;
  std::map<Picture, Drawn> drawn_;
  int64_t region_height_ = 0, region_width_ = 0;  // the grid on which regions are refined
  int guided_ = 0, follow_from_ = 0;
};

BoundedAttention::Tokens BoundedAttention::resolve(const Member& member, const std::string& where) const {
  Tokens out{.subjects = {},
             .nouns = {},
             .looked = {},
             .filtered = {},
             .end = eos_token.value_or(static_cast<int>(member.words.end)),
             .length = member.words.length};
  std::set<int64_t> looked{out.end};
  for (size_t i = 0; i < subjects(); ++i) {
    out.subjects.push_back(subject_tokens[i].positions(member.words, where));
    looked.insert(out.subjects[i].begin(), out.subjects[i].end());
    out.nouns.push_back(noun_tokens.empty() ? out.subjects[i].back()
                                            : noun_tokens[i].positions(member.words, where).back());
  }
  out.looked.assign(looked.begin(), looked.end());
  TokenWords hidden;
  if (!filter_tokens) {
    for (const std::string& word : function_words(member.words.text)) hidden.items.emplace_back(word);
  }
  for (const int64_t token : (filter_tokens ? *filter_tokens : hidden).positions(member.words, where)) {
    if (!looked.contains(token)) out.filtered.insert(token);
  }
  return out;
}

// Stable Diffusion 1 and 2: middle and the first stage on the way up that attends. Stages of ten layers (SDXL): the
// second to the seventh layer of the first such block, as the official code's 70 to 81.
void BoundedAttention::choose_layers(const PlanBuilder& plan) {
  std::string stage;
  std::vector<std::string> deep;
  for (const AttentionSite& site : plan.run().sites) {
    if (!site.name.starts_with("up.")) continue;
    const std::string block = site.name.substr(0, site.name.find(".depth"));
    if (stage.empty()) stage = block.substr(0, block.rfind('.'));
    if (block.starts_with(stage + ".block0") && site.name.ends_with(".cross"))
      deep.push_back(site.name.substr(0, site.name.rfind('.')));
  }
  const bool many = deep.size() >= 7;
  const std::vector<std::string> some = many ? std::vector(deep.begin() + 1, deep.begin() + 7) : std::vector{stage};
  if (mask_layers.empty()) mask_layers = some;
  if (loss_layers.empty()) {
    loss_layers = some;
    if (!many &&
        std::ranges::any_of(plan.run().sites, [](const AttentionSite& s) { return s.name.starts_with("mid."); }))
      loss_layers.emplace_back("mid");
  }
}

void BoundedAttention::declare(PlanBuilder& plan) {
  const std::string& where = plan.where();
  if (boxes.empty() == masks.empty())
    fail(ErrorCode::usage, where, "boxes or masks", boxes.empty() ? "neither" : "both");
  const size_t places = boxes.empty() ? masks.size() : boxes.size();
  if (places != subjects() || subjects() == 0 || subjects() > 30)
    fail(ErrorCode::usage, where, "a place for each subject, 1 to 30",
         std::to_string(places) + " for " + std::to_string(subjects()));
  if (!noun_tokens.empty() && noun_tokens.size() != subjects())
    fail(ErrorCode::usage, where + " noun_tokens", "a noun for each subject", std::to_string(noun_tokens.size()));
  for (const auto& b : boxes) {
    if (!(b[0] < b[2] && b[1] < b[3])) fail(ErrorCode::usage, where + " boxes", "x0 < x1 and y0 < y1", "another order");
  }
  for (const MaskRows& m : masks) {
    for (const auto& line : m) {
      if (line.empty() || line.size() != m.front().size())
        fail(ErrorCode::usage, where + " masks", "rows of one length", "others");
    }
    if (m.empty()) fail(ErrorCode::usage, where + " masks", "rows of 0 and 1", "an empty mask");
  }
  for (const Member& member : plan.run().members) tokens_.push_back(resolve(member, where));
  choose_layers(plan);
  guided_ = guidance.step_start == 0 && guidance.step_end == 0 ? 0 : plan.steps(0, guidance.steps_fraction).end;
  follow_from_ = plan.steps(0, refine.start_fraction).end;
  declare_masks(plan);
  if (guided_ > 0) declare_loss(plan);
  if (follow_from_ < plan.run().steps) declare_refinement(plan);
}

void BoundedAttention::declare_masks(PlanBuilder& plan) {
  for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::self}, .names = {}, .text = "self-attention"})) {
    site.declare(AddScore{{.text = "mask other subjects",
                           .form = SegmentPair{},
                           .at_run_time = [this](const TermPlace& place) { return self_mask(place); }}});
  }
  for (const SiteScope& site : plan.sites({.kinds = {AttentionKind::cross}, .names = {}, .text = "cross-attention"})) {
    for (const bool guiding : {false, true}) {
      site.lane(Branch::cond)
          .passes({guiding ? Pass::guide : Pass::denoise})
          .declare(AddScore{
              {.text = "mask other subjects' words",
               .form = SegmentPair{},
               .at_run_time = [this, guiding](const TermPlace& place) { return cross_mask(place, guiding); }}});
    }
  }
}

void BoundedAttention::declare_loss(PlanBuilder& plan) {
  const std::vector<SiteScope> sites =
      plan.sites({.kinds = {AttentionKind::self, AttentionKind::cross}, .names = loss_layers, .text = "attention"});
  for (const SiteScope& site : sites) {
    const bool cross = site.site().kind == AttentionKind::cross;
    std::vector<int64_t> inside;
    if (!cross) {
      const TokenSegment& grid = site.tokens().query.front();
      const std::vector<uint32_t> of = membership(first_regions(grid.height, grid.width));
      for (size_t x = 0; x < of.size(); ++x) {
        if (of[x] != 0) inside.push_back(static_cast<int64_t>(x));
      }
    }
    for (int m = 0; m < static_cast<int>(tokens_.size()); ++m) {
      site.lane(Branch::cond)
          .member(m)
          .during({0, guided_})
          .passes({Pass::guide})
          .declare(Capture{.name = cross ? "bounded_attention.cross" : "bounded_attention.self",
                           .keys = cross ? tokens_[static_cast<size_t>(m)].looked : inside});
    }
  }
  plan.hooks.guides.push_back({.method = "bounded_attention",
                               .steps = {0, guided_},
                               .loss = [this](const Captures& captures, const Moment&) { return loss(captures); },
                               .length =
                                   [this](int step) {
                                     return guidance.step_start +
                                            (guidance.step_end - guidance.step_start) * step / guided_;
                                   },
                               .decide =
                                   [this](int, int iteration, double value) {
                                     const bool enough = value / static_cast<double>(subjects()) < guidance.stop;
                                     return Verdict{.update = true, .again = !enough && iteration + 1 < guidance.iters};
                                   }});
}

void BoundedAttention::declare_refinement(PlanBuilder& plan) {
  for (const SiteScope& site :
       plan.sites({.kinds = {AttentionKind::self, AttentionKind::cross}, .names = mask_layers, .text = "attention"})) {
    const TokenSegment& grid = site.tokens().query.front();
    if (region_height_ == 0) region_height_ = grid.height, region_width_ = grid.width;
    if (grid.height != region_height_ || grid.width != region_width_)
      fail(ErrorCode::usage, plan.where() + " mask_layers", "layers of one resolution",
           site.site().name + " of another");
    const bool cross = site.site().kind == AttentionKind::cross;
    std::vector<int64_t> keys(static_cast<size_t>(cross ? 0 : grid.tokens()));
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int64_t>(i);
    for (int m = 0; m < static_cast<int>(tokens_.size()); ++m) {
      site.lane(Branch::cond)
          .member(m)
          .passes({Pass::denoise})
          .declare(Capture{.name = cross ? "bounded_attention.nouns" : "bounded_attention.pixels",
                           .keys = cross ? tokens_[static_cast<size_t>(m)].nouns : keys});
    }
  }
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment&, const std::vector<Lane>&) { collect(captures); });
  plan.hooks.before_step.push_back([this](const Moment& moment) {
    if (moment.step >= follow_from_ && (moment.step - follow_from_) % refine.every == 0) follow(moment.step);
  });
}

std::vector<RegionMask> BoundedAttention::first_regions(int64_t height, int64_t width) const {
  std::vector<RegionMask> out;
  for (const auto& box : boxes) out.push_back(box_mask(box, height, width));
  for (const MaskRows& rows : masks) {
    RegionMask mask{static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size()), {}};
    for (const auto& line : rows) mask.inside.insert(mask.inside.end(), line.begin(), line.end());
    out.push_back(resized(mask, height, width));
  }
  return out;
}

std::vector<RegionMask> BoundedAttention::regions_at(const Picture& picture, const TokenSegment& grid) const {
  const auto found = drawn_.find(picture);
  if (found == drawn_.end() || found->second.regions.empty()) return first_regions(grid.height, grid.width);
  std::vector<RegionMask> out;
  for (const RegionMask& mask : found->second.regions) out.push_back(resized(mask, grid.height, grid.width));
  return out;
}

// The sets of regions of the lane's pixels, row after row.
std::vector<uint32_t> BoundedAttention::members_at(const TermPlace& place) const {
  std::vector<uint32_t> out;
  for (int64_t row = 0; row < place.lane.rows(); ++row) {
    const std::vector<uint32_t> one =
        membership(regions_at({place.lane.member, place.lane.picture + row}, place.tokens.query.front()));
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// Sets as labels 0, 1, ... in the order of their bits.
std::vector<int64_t> labelled(const std::vector<uint32_t>& sets, const std::vector<uint32_t>& distinct) {
  std::vector<int64_t> out;
  for (const uint32_t set : sets) out.push_back(std::ranges::lower_bound(distinct, set) - distinct.begin());
  return out;
}

std::vector<uint32_t> distinct_of(std::vector<uint32_t> sets) {
  std::ranges::sort(sets);
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  return sets;
}

Tensor ids(const std::vector<int64_t>& values, int64_t rows) {
  return Tensor::from(std::span<const int64_t>(values), {rows, static_cast<int64_t>(values.size()) / rows});
}

// Pixels of subjects see their own regions and the background; the background sees everything.
std::vector<TermForm> BoundedAttention::self_mask(const TermPlace& place) const {
  const std::vector<uint32_t> sets = members_at(place), distinct = distinct_of(sets);
  std::vector<float> table;
  for (const uint32_t q : distinct) {
    for (const uint32_t k : distinct) table.push_back(q != 0 && k != 0 && (q & k) == 0 ? forbidden : 0);
  }
  const auto count = static_cast<int64_t>(distinct.size());
  const Tensor labels = ids(labelled(sets, distinct), place.lane.rows());
  return {Labels{labels, labels, Tensor::from(std::span<const float>(table), {count, count})}};
}

// A subject's words are seen in its region (guiding: in the background, too); the end token not in the background
// (guiding: everywhere); filtered words nowhere.
std::vector<TermForm> BoundedAttention::cross_mask(const TermPlace& place, bool guiding) const {
  const Tokens& of = tokens_[static_cast<size_t>(place.lane.member)];
  const std::vector<uint32_t> sets = members_at(place), distinct = distinct_of(sets);
  constexpr uint32_t plain = 0, end = 1u << 30, filtered = 1u << 31;
  std::vector<uint32_t> keys(static_cast<size_t>(of.length), plain);
  for (const int64_t token : of.filtered) keys[static_cast<size_t>(token)] = filtered;
  keys[static_cast<size_t>(of.end)] = end;
  for (size_t i = 0; i < of.subjects.size(); ++i) {
    for (const int64_t token : of.subjects[i]) keys[static_cast<size_t>(token)] |= 1u << i;
  }
  const std::vector<uint32_t> kinds = distinct_of(keys);
  std::vector<float> table;
  for (const uint32_t q : distinct) {
    for (const uint32_t k : kinds) {
      const bool background = q == 0;
      const bool seen = k == plain      ? true
                        : k == end      ? guiding || !background
                        : k == filtered ? false
                                        : (q & k) != 0 || (guiding && background);
      table.push_back(seen ? 0 : forbidden);
    }
  }
  return {Labels{ids(labelled(sets, distinct), place.lane.rows()), ids(labelled(keys, kinds), 1),
                 Tensor::from(std::span<const float>(table),
                              {static_cast<int64_t>(distinct.size()), static_cast<int64_t>(kinds.size())})}};
}

// sum over subjects of (1 - F / (F + n G))^2, with F the attention of a subject's box to its context and G that of the
// background, each summed over heads and pixels and averaged over layers.
Tensor BoundedAttention::subject_terms(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row,
                                       bool cross) const {
  Tensor total = Tensor::zeros({});
  const Tokens& of = tokens_[static_cast<size_t>(lane.member)];
  for (size_t i = 0; i < subjects(); ++i) {
    Tensor inside = Tensor::zeros({}), outside = Tensor::zeros({});
    double layers = 0;
    for (const AttentionMap& map : maps) {
      if (map.lane.member != lane.member) continue;
      const TokenSegment& grid = map.tokens.query.front();
      const std::vector<RegionMask> regions = first_regions(grid.height, grid.width);
      const std::vector<uint32_t> sets = membership(regions);
      std::vector<int64_t> columns, box, background;
      for (size_t c = 0; c < map.keys.size(); ++c) {
        const int64_t key = map.keys[c];
        const bool own = cross ? key == of.end || std::ranges::find(of.subjects[i], key) != of.subjects[i].end()
                               : regions[i].inside[static_cast<size_t>(key)] != 0;
        if (own) columns.push_back(static_cast<int64_t>(c));
      }
      for (size_t x = 0; x < sets.size(); ++x) {
        if (regions[i].inside[x]) box.push_back(static_cast<int64_t>(x));
        if (sets[x] == 0) background.push_back(static_cast<int64_t>(x));
      }
      const Tensor own = gather(slice(map.values, 0, row, row + 1), 2, columns);  // [1,Nq,C]
      const auto heads = static_cast<double>(map.site.heads);
      inside = add(inside, scale(sum(gather(own, 1, box)), heads));
      if (!background.empty()) outside = add(outside, scale(sum(gather(own, 1, background)), heads));
      layers += 1;
    }
    if (layers == 0) continue;
    const Tensor f = scale(inside, 1 / layers), g = scale(outside, static_cast<double>(subjects()) / layers);
    total = add(total, square(add_constant(scale(divide(f, add(f, g)), -1), 1)));
  }
  return total;
}

Tensor BoundedAttention::loss(const Captures& captures) const {
  const std::vector<AttentionMap>& cross = captures.at("bounded_attention.cross");
  const std::vector<AttentionMap>& self = captures.at("bounded_attention.self");
  Tensor total = Tensor::zeros({});
  for (const Lane& lane : lanes_of(cross.empty() ? self : cross)) {
    for (int64_t row = 0; row < lane.rows(); ++row) {
      total = add(total, scale(subject_terms(cross, lane, row, true), cross_loss));
      total = add(total, scale(subject_terms(self, lane, row, false), self_loss));
    }
  }
  return total;
}

void add_to(std::vector<float>& sum, const std::vector<float>& values) {
  sum.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

void BoundedAttention::collect(const Captures& captures) {
  const auto each = [&](const char* name, std::vector<float> Drawn::*sum, int64_t Drawn::*count) {
    for (const AttentionMap& map : captures.at(name)) {
      for (int64_t row = 0; row < map.lane.rows(); ++row) {
        Drawn& of = drawn_[{map.lane.member, map.lane.picture + row}];
        add_to(of.*sum, slice(map.values, 0, row, row + 1).to_vector());
        ++(of.*count);
      }
    }
  };
  each("bounded_attention.pixels", &Drawn::self, &Drawn::self_maps);
  each("bounded_attention.nouns", &Drawn::nouns, &Drawn::noun_maps);
}

void BoundedAttention::follow(int) {
  const std::vector<RegionMask> first = first_regions(region_height_, region_width_);
  for (auto& [picture, of] : drawn_) {
    if (of.self_maps == 0 || of.noun_maps == 0) continue;
    const auto mean = [](std::vector<float> sum, int64_t count) {
      for (float& v : sum) v /= static_cast<float>(count);
      return sum;
    };
    const RefineSettings settings{refine.clusters_per_subject, refine.tau_noun, refine.sharp, refine.tau_cluster};
    of.regions = refined(of.regions.empty() ? first : of.regions, first, mean(of.self, of.self_maps),
                         mean(of.nouns, of.noun_maps), settings, of.centres);
  }
}

REGISTER_METHOD(bounded_attention, BoundedAttention, "draws each subject in its own box, without borrowed looks",
                "Dahary et al. 2024, Be Yourself: Bounded Attention, arXiv 2403.16990");

}  // namespace
}  // namespace heddle
