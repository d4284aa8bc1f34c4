// What T-GATE leaves out, counted: the multiply-add counter against the closed form of its schedule, and against what
// explain says.
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

Preset joint_preset(const std::string& name, const std::string& method) {
  const std::string text =
      "heddle: 1\nmodel: joint_" + name +
      "\nprompt: [a cat, a hat]\nnegative: blurry\nimages: 2\nsize: [24, 16]\ntext: {max_sequence_length: 16}\n" +
      "sampler: {steps: 6, guidance: 4" + (name == "flux" ? ", true_guidance: 4" : "") + "}\nattention: [ " + method +
      " ]\n";
  return preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()});
}

// Of 4 rows in one branch: what one evaluation saves where the text is not there, and what the extra softmax of
// `partial` costs at the gate.
struct TextFlops {
  int64_t stream = 0, queries = 0, part = 0;
};

TextFlops text_flops(Model& model, const std::string& name, int64_t words) {
  const Denoiser& network = model.denoiser();
  const int64_t rows = 4, pixels = 4 * 6;
  const int64_t c = network.sites()[0].heads * network.sites()[0].head_dim;
  int64_t doubles = 0, singles = 0;
  for (const AttentionSite& site : network.sites()) {
    if (site.kind == AttentionKind::joint) (site.name.starts_with("single") ? singles : doubles) += 1;
  }
  // Linear layers a token: q, k, v; output projection; feed forward of width 4. SD3's last block ends with the first.
  const int64_t lasts = name == "flux" ? 0 : 1, whole = 2 * (3 + 1 + 8) * c * c, last = 2 * 3 * c * c;
  TextFlops out;
  out.stream = words * ((doubles - lasts + singles) * whole + lasts * last + 2 * model.traits().text_width * c);
  // Vectors of modulation a row: six of each stream, two of one that ends; FLUX's single blocks have those of both.
  out.stream = rows * (out.stream + (doubles - lasts) * 2 * c * 6 * c + lasts * 2 * c * 2 * c);
  out.queries = rows * (doubles + singles) * 4 * c * words * (words + pixels);
  out.part = rows * (doubles + singles) * 4 * c * pixels * words;
  return out;
}

TEST(TGateCost, LeavesOutTheTextOfJointAttention) {
  for (const std::string name : {"sd3", "sd3_no_t5", "flux"}) {
    Model model(std::string(HEDDLE_FIXTURES) + "/methods/models/joint_" + name, DType::f32);
    const auto counted = [&](const std::string& method) {
      const int64_t before = flops_counted();
      generate(joint_preset(name, method), "test.yaml", model, {});
      return flops_counted() - before;
    };
    const auto explained_plan = [&](const std::string& method) {
      return explain_preset(joint_preset(name, method), "test.yaml", model);
    };
    const auto explained = [&](const std::string& method) { return explained_plan(method).totals.extra_flops; };
    const std::string tokens = explained_plan("tgate: {gate_step: 2, text: freeze}").rows.back().key;
    const TextFlops text = text_flops(model, name, std::stoll(tokens.substr(tokens.find("text ") + 5)));
    for (const auto& [common, branches] :
         {std::pair{std::string("tgate: {gate_step: 2, sp_interval: 1"), 1},
          {std::string("tgate: {gate_step: 2, sp_interval: 1, drop_guidance: false"), 2}}) {
      const int64_t compute = counted(common + "}");
      const int64_t freeze = compute - counted(common + ", text: freeze}");
      const int64_t partial = compute - counted(common + ", text: partial}");
      EXPECT_EQ(freeze, 4 * branches * (text.stream + text.queries)) << name;
      EXPECT_EQ(partial, 4 * branches * (text.stream + text.queries + text.part) - 2 * text.part) << name;
      EXPECT_EQ(explained(common + ", text: freeze}"), -freeze) << name;
      EXPECT_EQ(explained(common + ", text: partial}"), -partial) << name;
    }
    // Lanes with edits have all queries.
    const std::string styled =
        "tgate: {gate_step: 2, sp_interval: 1, drop_guidance: false, text: freeze}, "
        "style_aligned: {prompts: [a cat, a hat]}";
    EXPECT_EQ(explained(styled), counted(styled) - counted("")) << name;
  }
}

TEST(TGateCost, ExplainSaysWhatIsKept) {
  for (const std::string name : {"sd3", "flux"}) {
    Model model(std::string(HEDDLE_FIXTURES) + "/methods/models/joint_" + name, DType::f32);
    const int64_t c = model.denoiser().sites()[0].heads * model.denoiser().sites()[0].head_dim;
    const int64_t heads = model.denoiser().sites()[0].heads, joint = 3, words = name == "flux" ? 16 : 77 + 16;
    const auto kept = [&](const std::string& more) {
      return explain_preset(joint_preset(name, "tgate: {gate_step: 2, sp_interval: 1" + more + "}"), "test.yaml", model)
          .totals.kept_bytes;
    };
    EXPECT_EQ(kept(""), 0);
    EXPECT_EQ(kept(", text: freeze"), 4 * joint * 2 * words * c * 4);
    EXPECT_EQ(kept(", text: freeze, drop_guidance: false"), 2 * 4 * joint * 2 * words * c * 4);
    EXPECT_EQ(kept(", text: partial"), 4 * joint * 24 * (c + heads) * 4);
  }
}

}  // namespace
}  // namespace heddle
