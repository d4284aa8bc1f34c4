// RF-Edit: while an inverted picture is drawn anew with another prompt, some late blocks see in the first steps the
// values that the inversion met in the same steps: softmax(q k^T / sqrt(d)) of the target, v of the source. Wang et al.
// 2025, "Taming Rectified Flow for Inversion and Editing", section 3.3, arXiv 2411.04746; with FireFlow's choices (Deng
// et al. 2024, arXiv 2412.07517): q and k too, replaced or added. Verbs: store, recall. Stays fused.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "attention_control/plugins/grid_mask.h"
#include "attention_control/plugins/regions.h"
#include "attention_control/plugins/registry.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

enum class Shared : uint8_t { q, k, v };  // as Role
enum class Sharing : uint8_t { replace, add };
enum class SharedTokens : uint8_t { all, image };
enum class Storage : uint8_t { f32, bf16, f16 };  // as DType

}  // namespace
template <>
struct ParamWords<Shared> {
  static constexpr std::array words{"q", "k", "v"};
};
template <>
struct ParamWords<Sharing> {
  static constexpr std::array words{"replace", "add"};
};
template <>
struct ParamWords<SharedTokens> {
  static constexpr std::array words{"all", "image"};
};
template <>
struct ParamWords<Storage> {
  static constexpr std::array words{"f32", "bf16", "f16"};
};
namespace {

struct RfEdit final : Method {
  double inject_steps = 0.2;
  std::array<double, 2> inject_blocks{0.5, 1};
  std::vector<Shared> share{Shared::v};
  Sharing mode = Sharing::replace;
  double strength = 1;
  SharedTokens tokens = SharedTokens::all;
  GridMask mask;
  std::vector<Box> boxes;
  Storage storage = Storage::f32;

  static Params<RfEdit> params() {
    using M = RfEdit;
    return {
        opt("inject_steps", &M::inject_steps, range(0, 100000),
            "steps, the noisiest, that see the source: more keep more of it; below 1 a share of the run"),
        opt("inject_blocks", &M::inject_blocks, range(0, 1),
            "from and to, as shares of the single-stream blocks; where there are none of all joint blocks, of UNets "
            "of the self-attention on the way up"),
        opt("share", &M::share, "which projections"),
        opt("mode", &M::mode, "in place of the target's own, or added to them"),
        opt("strength", &M::strength, range(0, 1), "how much of the source's"),
        opt("tokens", &M::tokens, "those of the picture alone, or of the text too"),
        opt("mask", &M::mask, "white where the picture's tokens are the source's; everywhere if not given"),
        opt("boxes", &M::boxes, range(0, 1), "the same as boxes: x0, y0, x1, y1 as shares of the picture, y down"),
        opt("storage", &M::storage, "type in which the source's wait")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  void check(const std::string& where) const;
  int steps(const PlanBuilder& plan) const;
  std::vector<SiteScope> blocks(PlanBuilder& plan) const;
  std::vector<bool> cells(const TokenSegment& grid) const;
  std::vector<int64_t> positions(const TokenLayout& layout) const;

  std::optional<Grid> grid_;
};

int RfEdit::steps(const PlanBuilder& plan) const {
  const int all = plan.run().steps;
  if (inject_steps > 0 && inject_steps < 1) return std::max(1, static_cast<int>(std::lround(inject_steps * all)));
  if (inject_steps != std::floor(inject_steps) || inject_steps > all) {
    fail(ErrorCode::usage, plan.where() + " inject_steps",
         "a whole number of steps to " + std::to_string(all) + ", or a share below 1", number_text(inject_steps));
  }
  return static_cast<int>(inject_steps);
}

std::vector<SiteScope> RfEdit::blocks(PlanBuilder& plan) const {
  const auto has = [&](auto fact) { return std::ranges::any_of(plan.run().sites, fact); };
  SiteSelect select{.kinds = {AttentionKind::joint}, .names = {}, .text = "joint attention"};
  if (has([](const AttentionSite& s) { return s.name.starts_with("single."); })) {
    select.names = {"single"};
  } else if (!has([](const AttentionSite& s) { return s.kind == AttentionKind::joint; })) {
    select = {.kinds = {AttentionKind::self}, .names = {"up"}, .text = "self-attention on the way up"};
  }
  const std::vector<SiteScope> all = plan.sites(select);
  const auto [from, to] = inject_blocks;
  const auto count = static_cast<double>(all.size());
  constexpr double rounding = 1e-9;  // shares are decimal fractions
  const auto begin = static_cast<ptrdiff_t>(from * count + rounding);
  const auto end = static_cast<ptrdiff_t>(std::ceil(to * count - rounding));
  if (begin >= end) {
    fail(ErrorCode::usage, plan.where() + " inject_blocks",
         "from below to, with one of " + number_text(count) + " between",
         "[" + number_text(from) + ", " + number_text(to) + "]", "[0.5, 1]");
  }
  return {all.begin() + begin, all.begin() + end};
}

// The places of one frame's tokens that are shared.
std::vector<bool> RfEdit::cells(const TokenSegment& grid) const {
  std::vector<bool> inside(static_cast<size_t>(grid.height * grid.width), !grid_ && boxes.empty());
  if (grid_) {
    const Grid fitted = resize_nearest(*grid_, grid.height, grid.width);
    for (size_t i = 0; i < inside.size(); ++i) inside[i] = fitted.values[i] > 0;
  }
  for (const Box& box : boxes) {
    const RegionMask one = box_mask(box, grid.height, grid.width);
    for (size_t i = 0; i < inside.size(); ++i) inside[i] = inside[i] || one.inside[i] != 0;
  }
  return inside;
}

std::vector<int64_t> RfEdit::positions(const TokenLayout& layout) const {
  std::vector<int64_t> out;
  int64_t begin = 0;
  for (const TokenSegment& segment : layout) {
    const bool image = segment.name == "image";
    const std::vector<bool> inside = image ? cells(segment) : std::vector<bool>(1, tokens == SharedTokens::all);
    for (int64_t i = 0; i < segment.tokens(); ++i) {
      if (inside[static_cast<size_t>(i) % inside.size()]) out.push_back(begin + i);
    }
    begin += segment.tokens();
  }
  return out;
}

void RfEdit::check(const std::string& where) const {
  if (share.empty()) fail(ErrorCode::usage, where + " share", "one of q, k, v at least", "none", "[v]");
  for (const Box& b : boxes) {
    if (!(b[0] < b[2] && b[1] < b[3]))
      fail(ErrorCode::usage, where + " boxes", "x0 below x1 and y0 below y1", "another order");
  }
}

void RfEdit::declare(PlanBuilder& plan) {
  check(plan.where());
  const Steps during{0, steps(plan)};
  const std::vector<SiteScope> sites = blocks(plan);
  if (mask.given()) grid_ = mask.read();
  if (during.empty() || strength == 0) return;
  for (const SiteScope& any : sites) {
    std::vector<int64_t> kept = positions(any.tokens().key);
    if (kept.empty()) {
      fail(ErrorCode::usage, plan.where(), "tokens to share at " + any.site().name, "none: the mask is black there",
           "a mask with some white, or `tokens: all`");
    }
    if (static_cast<int64_t>(kept.size()) == token_count(any.tokens().key)) kept.clear();  // all
    const SiteScope site = any.during(during), source = site.lane(Branch::cond).member(0).passes({Pass::invert});
    for (const Role role : {Role::q, Role::k, Role::v}) {
      if (std::ranges::find(share, static_cast<Shared>(role)) == share.end()) continue;
      source.declare(Store{.role = role, .slot = plan.method(), .tokens = kept, .dtype = static_cast<DType>(storage)});
      site.declare(
          Recall{.role = role, .slot = plan.method(), .tokens = kept, .weight = strength, .add = mode == Sharing::add});
    }
  }
}

REGISTER_METHOD(rf_edit, RfEdit, "edits a real picture: an inverted source lends its values to what is drawn instead",
                "Wang et al. 2025, RF-Solver and RF-Edit, arXiv 2411.04746");

}  // namespace
}  // namespace heddle
