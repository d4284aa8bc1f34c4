// StyleAligned: a set of pictures in one style, since every picture also attends to the first. Hertz et al. 2024,
// arXiv 2312.02133; statistics of the official code. Verbs: shape (AdaIN), extend. Stays fused.
#include <algorithm>
#include <cmath>
#include <set>

#include "attention_control/plugins/adaptive_norm.h"
#include "attention_control/plugins/registry.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

enum class ShareMode : uint8_t { reference, full };

}  // namespace
template <>
struct ParamWords<ShareMode> {
  static constexpr std::array words{"reference", "full"};
};
namespace {

struct Adain {
  bool q = true, k = true, v = false;
  static Params<Adain> params() {
    return {opt("q", &Adain::q, "queries get the reference's statistics"), opt("k", &Adain::k, "keys do"),
            opt("v", &Adain::v, "values do")};
  }
};
struct Share {
  double fraction = 1;
  Adain adain;
  bool group_norm = false;
  ShareMode mode = ShareMode::reference;
  static Params<Share> params() {
    return {
        opt("fraction", &Share::fraction, range(0, 1), "share of self-attention layers, evenly spaced"),
        opt("adain", &Share::adain, "which projections take over the reference's mean and deviation"),
        opt("group_norm", &Share::group_norm, "statistics of group norms: outside attention, so false is all there is"),
        opt("mode", &Share::mode, "reference: all look at the first; full: all at all, without the other settings")};
  }
};
struct ReferenceGain {
  double shift = 0, scale = 1;
  static Params<ReferenceGain> params() {
    return {opt("shift", &ReferenceGain::shift, range(-10000, 10000),
                "added to the scores of the reference's keys; 0.69 doubles their odds"),
            opt("scale", &ReferenceGain::scale, range(0, 100), "the reference's keys times this")};
  }
};

struct StyleAligned final : Method {
  std::vector<std::string> pictures;
  Share share;
  ReferenceGain reference_gain;

  static Params<StyleAligned> params() {
    using M = StyleAligned;
    return {need("prompts", &M::pictures, "one for each picture; the first sets the style"),
            opt("share", &M::share, "what is shared, and where"),
            opt("reference_gain", &M::reference_gain, "how much the reference counts")};
  }

  std::optional<MethodPrompts> prompts() const override {
    MethodPrompts out;
    for (size_t i = 0; i < pictures.size(); ++i) out.members.emplace_back("image" + std::to_string(i), pictures[i]);
    return out;
  }
  void declare(PlanBuilder& plan) override;

 private:
  std::vector<SiteScope> sites(PlanBuilder& plan) const;
  void look_at_reference(const SiteScope& site) const;
};

// Layers round(j / fraction), j = 0, 1, ...; halves to even as Python has them.
std::vector<SiteScope> StyleAligned::sites(PlanBuilder& plan) const {
  std::vector<SiteScope> out;
  if (share.fraction == 0) return out;
  const std::vector<SiteScope> all =
      plan.sites({.kinds = {AttentionKind::self}, .names = {}, .text = "self-attention"});
  std::set<double> chosen;
  for (size_t j = 0; j < all.size(); ++j) chosen.insert(std::nearbyint(static_cast<double>(j) / share.fraction));
  for (size_t i = 0; i < all.size(); ++i) {
    if (chosen.contains(static_cast<double>(i))) out.push_back(all[i]);
  }
  return out;
}

// The first row stays as it is: twice the same keys and values change no softmax.
void StyleAligned::look_at_reference(const SiteScope& site) const {
  const LaneRef reference{.branch = {}, .member = 0};
  const auto align = [&](bool wanted, Role role) {
    if (!wanted) return;
    site.declare(
        Shaping{.role = role,
                .function = {.text = "AdaIN to the reference", .apply = [=](const Tensor& x, const LaneTensors& lanes) {
                               return adaptive_norm(x, lanes.of(role, reference));
                             }}});
  };
  align(share.adain.q, Role::q);
  align(share.adain.k, Role::k);
  align(share.adain.v, Role::v);
  site.declare(Extend{.text = "the reference's k, v",
                      .lane = reference,
                      .log_gain = reference_gain.shift,
                      .key_scale = reference_gain.scale});
}

void StyleAligned::declare(PlanBuilder& plan) {
  if (share.group_norm) {
    fail(ErrorCode::usage, plan.where() + " share.group_norm",
         "false: group norms lie outside attention, where a plan does not reach", "true",
         "reference_gain.shift for a stronger pull");
  }
  const auto members = static_cast<int>(plan.run().members.size());
  for (const SiteScope& site : sites(plan)) {
    for (int m = 0; m < members; ++m) {
      if (share.mode == ShareMode::reference) {
        if (m > 0) look_at_reference(site.member(m));
        continue;
      }
      for (int other = 0; other < members; ++other) {
        if (other != m)
          site.member(m).declare(
              Extend{.text = "k, v of image" + std::to_string(other), .lane = {.branch = {}, .member = other}});
      }
    }
  }
}

REGISTER_METHOD(style_aligned, StyleAligned, "several pictures in the style of the first",
                "Hertz et al. 2024, StyleAligned, arXiv 2312.02133");

}  // namespace
}  // namespace heddle
