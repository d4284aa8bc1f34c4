// Perturbed-attention guidance: a third branch in which pixels look at pixels in a worse way, and the prediction moves
// away from it. PAG: every pixel looks at itself only; Ahn et al. 2024, arXiv 2403.17377, as diffusers' PAG pipelines
// (at joint sites text is seen as ever). SEG: queries are blurred over the grid; Hong 2024, arXiv 2408.00760. Verbs:
// branch (identity), mask, shape. Stays fused.
#include <cmath>

#include "attention_control/plugins/grid_blur.h"
#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/registry.h"

namespace heddle {
namespace {

enum class Perturbation : uint8_t { identity, blur };

}  // namespace
template <>
struct ParamWords<Perturbation> {
  static constexpr std::array words{"identity", "blur"};
};
namespace {

struct PerturbedAttention final : Method {
  double scale = 3, adaptive_scale = 0;
  std::vector<std::string> layers;
  Perturbation perturbation = Perturbation::identity;
  double blur_sigma = 1e6;

  static Params<PerturbedAttention> params() {
    using M = PerturbedAttention;
    return {
        opt("scale", &M::scale, range(0, 1000), "how far the prediction moves away from the perturbed one"),
        opt("adaptive_scale", &M::adaptive_scale, range(0, 1000),
            "the scale falls by this times (1000 - timestep), to 0 at least"),
        opt("layers", &M::layers,
            "sites, beginnings of their names (mid, up.1, block.12), or shares of depth (\"0.4..0.6\"); mid, or the "
            "middle block of a transformer, if not given"),
        opt("perturbation", &M::perturbation,
            "identity: tokens see themselves only (PAG); blur: blurred queries (SEG)"),
        opt("blur_sigma", &M::blur_sigma, range(0.01, 1e9),
            "width of the blur in cells of the grid; above 9999 the mean")};
  }

  void declare(PlanBuilder& plan) override {
    if (scale == 0) return;
    const std::vector<SiteScope> sites = image_sites(plan, layers_or(layers, plan.run(), {"mid"}, "0.5..0.5"));
    for (const SiteScope& site : sites) perturb(site.lane(Branch::perturbed).passes({Pass::denoise}));
    plan.predictions.push_back(
        {.method = "perturbed_attention", .branch = Branch::perturbed, .scale = [this](int, double timestep) {
           const double s = adaptive_scale > 0 ? scale - adaptive_scale * (1000 - timestep) : scale;
           return std::max(s, 0.0);
         }});
  }

 private:
  void perturb(const SiteScope& site) const {
    const ImageText at = image_text(site.tokens());
    if (perturbation == Perturbation::identity && at.joint()) {
      const Window itself{.segment = "image", .frames = 0, .height = 0, .width = 0};
      site.declare(AddScore{{.text = "pixels see themselves and text", .form = itself}});
      return;
    }
    if (perturbation == Perturbation::identity) {
      site.declare(Weigh{.text = "without its own softmax", .constant = 0});
      site.declare(AddBranch{.name = "identity", .weight = 1, .identity = true});
      return;
    }
    const auto blurred = [range = at.image_queries, grid = image_grid(site.tokens()), sigma = blur_sigma](
                             const Tensor& q, const LaneTensors&) {
      return with_image(q, range, [&](const Tensor& image) { return blur_tokens(image, grid, sigma); });
    };
    // Means over tokens say nothing once rotary positions have turned each its own way.
    site.declare(Shaping{.role = Role::q, .function = {.text = "blur", .apply = blurred}, .plain = true});
  }
};

REGISTER_METHOD(perturbed_attention, PerturbedAttention,
                "guides away from what weaker self-attention would draw: cleaner structure",
                "Ahn et al. 2024, PAG, arXiv 2403.17377; Hong 2024, SEG, arXiv 2408.00760");

}  // namespace
}  // namespace heddle
