// Bounded Attention: each subject looks only at itself, the background and its own words, and early steps pull its
// attention into its box. Dahary et al. 2024, "Be Yourself", arXiv 2403.16990; constants of the official code.
// Verbs: mask, capture, loss. Stays fused.
#include "attention_control/plugins/bounded_attention.h"

#include <algorithm>

#include "attention_control/plugins/cross_maps.h"
#include "attention_control/plugins/noun_phrases.h"
#include "kernels/core/error.h"

namespace heddle {

BoundedAttention::Tokens BoundedAttention::resolve(const Member& member, const std::string& where) const {
  Tokens out{.subjects = {}, .nouns = {}, .looked = {}, .filtered = {}, .ends = {}, .length = member.words.length};
  for (const PromptPart& part : member.words.text_parts()) {
    if (part.end > part.begin) out.ends.insert(part.end);
  }
  if (!joint_) out.ends = {member.words.end};
  if (eos_token && *eos_token >= out.length)
    fail(ErrorCode::usage, where + " eos_token", "a position below " + std::to_string(out.length),
         std::to_string(*eos_token));
  if (eos_token) out.ends = {*eos_token};
  std::set<int64_t> looked = out.ends;
  for (size_t i = 0; i < subjects(); ++i) {
    out.subjects.push_back(subject_tokens[i].positions(member.words, where));
    looked.insert(out.subjects[i].begin(), out.subjects[i].end());
    out.nouns.emplace_back();
    for (const auto& part :
         member.words.by_part(noun_tokens.empty() ? out.subjects[i] : noun_tokens[i].positions(member.words, where)))
      out.nouns.back().push_back(part.back());
  }
  out.looked.assign(looked.begin(), looked.end());
  TokenWordsOrNone hidden = filter_tokens.value_or(TokenWordsOrNone{});
  if (!filter_tokens) {
    for (const std::string& word : function_words(member.words.text)) hidden.items.emplace_back(word);
  }
  for (const int64_t token : hidden.positions(member.words, where)) {
    if (!looked.contains(token)) out.filtered.insert(token);
  }
  return out;
}

// Stable Diffusion 1 and 2: middle and the first stage on the way up that attends. Stages of ten layers (SDXL): the
// second to the seventh layer of the first such block, as the official code's 70 to 81.
void BoundedAttention::choose_layers(const PlanBuilder& plan) {
  if (joint_) {  // the same place in the depth of the network
    for (auto* layers : {&loss_layers, &mask_layers}) *layers = layers_or(*layers, plan.run(), {}, "0.375..0.625");
    return;
  }
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
  joint_ = is_joint(plan.run());
  for (const Member& member : plan.run().members) tokens_.push_back(resolve(member, where));
  choose_layers(plan);
  guided_ = guidance.step_start == 0 && guidance.step_end == 0 ? 0 : plan.steps(0, guidance.steps_fraction).end;
  follow_from_ = plan.steps(0, refine.start_fraction).end;
  declare_masks(plan);
  if (guided_ > 0) declare_loss(plan);
  if (follow_from_ < plan.run().steps) declare_refinement(plan);
}

namespace {

std::vector<SiteScope> all_sites(PlanBuilder& plan, const std::vector<std::string>& layers) {
  return plan.sites({.kinds = {AttentionKind::self, AttentionKind::cross, AttentionKind::joint},
                     .names = layers,
                     .text = "attention of the image"});
}

}  // namespace

void BoundedAttention::declare_masks(PlanBuilder& plan) {
  for (const SiteScope& site : all_sites(plan, {})) {
    const bool words_alone = image_text(site.tokens()).image_keys.empty();
    (words_alone ? site.lane(Branch::cond) : site)
        .declare(AddScore{{.text = words_alone ? "mask other subjects' words" : "mask other subjects",
                           .form = SegmentPair{},
                           .at_run_time = [this](const TermPlace& place) { return mask(place); }}});
  }
}

void BoundedAttention::declare_loss(PlanBuilder& plan) {
  for (const SiteScope& site : all_sites(plan, loss_layers)) {
    const ImageText at = image_text(site.tokens());
    const TokenSegment& grid = image_grid(site.tokens());
    const std::vector<uint32_t> of = membership(first_regions(grid.height, grid.width));
    std::vector<int64_t> inside;
    for (size_t x = 0; x < of.size(); ++x) {
      if (of[x] != 0) inside.push_back(static_cast<int64_t>(x));
    }
    for (size_t m = 0; m < tokens_.size(); ++m) {
      const SiteScope here =
          site.lane(Branch::cond).member(static_cast<int>(m)).during({0, guided_}).passes({Pass::guide});
      if (!at.text_keys.empty())
        capture_words(here, {.name = "bounded_attention.cross", .keys = tokens_[m].looked},
                      plan.run().members[m].words);
      if (!at.image_keys.empty()) capture_pixels(here, {.name = "bounded_attention.self", .keys = inside});
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
  for (const SiteScope& site : all_sites(plan, mask_layers)) {
    const ImageText at = image_text(site.tokens());
    const TokenSegment& grid = image_grid(site.tokens());
    if (region_height_ == 0) region_height_ = grid.height, region_width_ = grid.width;
    if (grid.height != region_height_ || grid.width != region_width_)
      fail(ErrorCode::usage, plan.where() + " mask_layers", "layers of one resolution",
           site.site().name + " of another");
    std::vector<int64_t> pixels(static_cast<size_t>(grid.tokens()));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<int64_t>(i);
    for (size_t m = 0; m < tokens_.size(); ++m) {
      const SiteScope here = site.lane(Branch::cond).member(static_cast<int>(m)).passes({Pass::denoise});
      if (!at.text_keys.empty())
        capture_words(here, {.name = "bounded_attention.nouns", .keys = tokens_[m].all_nouns()},
                      plan.run().members[m].words);
      if (!at.image_keys.empty()) capture_pixels(here, {.name = "bounded_attention.pixels", .keys = pixels});
    }
  }
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment&, const std::vector<Lane>&) { collect(captures); });
  plan.hooks.before_step.push_back([this](const Moment& moment) {
    if (moment.step >= follow_from_ && (moment.step - follow_from_) % refine.every == 0) follow();
  });
}

namespace {

REGISTER_METHOD(bounded_attention, BoundedAttention, "draws each subject in its own box, without borrowed looks",
                "Dahary et al. 2024, Be Yourself: Bounded Attention, arXiv 2403.16990");

}  // namespace
}  // namespace heddle
