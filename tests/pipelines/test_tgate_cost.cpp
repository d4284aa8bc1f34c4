// What T-GATE leaves out, counted: the multiply-add counter against the closed form of its schedule.
#include <gtest/gtest.h>

#include "attention_control/plugins/registry.h"
#include "io/preset_file.h"
#include "kernels/core/flops.h"
#include "pipelines/generate.h"

namespace heddle {
namespace {

const std::string folder = std::string(HEDDLE_FIXTURES) + "/methods/models/sd1";
constexpr int steps = 12, gate = 5, warm_up = 1, interval = 3;

int64_t flops_of(Model& model, const std::string& more) {
  const std::string text = "heddle: 1\nmodel: " + folder +
                           "\nprompt: a cat\nsize: [32, 32]\nsampler: {name: ddim, steps: " + std::to_string(steps) +
                           ", guidance: 5}\n" + more;
  const Preset preset = preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()});
  const int64_t before = flops_counted();
  generate(preset, "test.yaml", model, {});
  return flops_counted() - before;
}

// Of one row in one attention layer: projections, scores and sums, output projection.
int64_t layer_flops(const AttentionSite& site, const SiteTokens& tokens, int64_t text_width) {
  const int64_t c = site.heads * site.head_dim, n = token_count(tokens.query), keys = token_count(tokens.key);
  const int64_t key_width = site.kind == AttentionKind::self ? c : text_width;
  return 2 * n * c * c + 2 * keys * key_width * 2 * c + 4 * n * keys * c + 2 * n * c * c;
}

TEST(TGateCost, EqualsTheClosedFormOfItsSchedule) {
  Model model(folder, DType::f32);
  const Denoiser& unet = model.denoiser();
  const int64_t width = model.traits().text_width;
  const auto tokens = unet.site_tokens(16, 16, 77);
  int64_t self = 0, cross = 0;
  for (size_t i = 0; i < tokens.size(); ++i)
    (unet.sites()[i].kind == AttentionKind::self ? self : cross) += layer_flops(unet.sites()[i], tokens[i], width);

  const int64_t plain = flops_of(model, "");
  const int64_t dropped = flops_of(model, "attention: [ tgate: {gate_step: 5, warm_up: 1, sp_interval: 3} ]\n");
  // The whole network for one row, from two runs that differ in the branches of one step.
  const int64_t row = (plain - flops_of(model, "attention: [ tgate: {gate_step: 11, sp_interval: 1} ]\n")) - cross;
  int64_t reused_self = 0;  // steps before the gate, both branches
  for (int s = 0; s < gate; ++s) reused_self += s > warm_up && s % interval != 0 && s != gate - 1 ? 2 : 0;
  EXPECT_EQ(reused_self, 2);
  EXPECT_EQ(plain - dropped, (steps - gate) * (row + cross) + reused_self * self);
}

}  // namespace
}  // namespace heddle
