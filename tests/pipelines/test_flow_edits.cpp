// Edits of a picture by SD3 and FLUX: RF-Edit on its solvers, RF-Inversion and FlowEdit against transcriptions
// (fixtures by tools/fixtures/flow_edits.py); what is stored, what comes back, what is refused.
#include "io/json.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "kernels/ops/view.h"
#include "tests/pipelines/joint_run.h"
#include "tests/pipelines/parity_cases.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {
namespace {

using testing::error_over_std;
using testing::joint_run;
using testing::scratch;
const std::string root = std::string(HEDDLE_FIXTURES) + "/pipelines/joint_edits/";

class FlowEditParity : public ::testing::TestWithParam<Json> {};

TEST_P(FlowEditParity, InvertedNoiseAndFinalLatentsAgree) {
  static const TensorMap expected = read_safetensors(root + "expected.safetensors");
  const std::string name = GetParam().get<std::string>("name"), saved = scratch("inverted.safetensors");
  const bool inverts = GetParam().get<bool>("inverts");
  const auto overrides = inverts ? std::vector{"inversion.save=" + saved} : std::vector<std::string>{};
  const RunResult result =
      joint_run(GetParam().get<std::string>("model"), GetParam().get<std::string>("preset"), overrides);
  EXPECT_LE(error_over_std(result.latents, expected.at(name + ".latents")), 2e-3);
  if (!inverts) return;
  const Tensor states = read_safetensors(saved).at("trajectory");
  EXPECT_LE(error_over_std(slice(states, 0, 0, 1), expected.at(name + ".noise")), 2e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FlowEditParity, ::testing::ValuesIn(testing::parity_cases(root)),
                         testing::case_name);

const std::string edit =
    "task: edit\nprompt: a photo of two hats\nsource: {image: source.png, prompt: a cat}\n"
    "text: {max_sequence_length: 12}\n";

Tensor latents(const std::string& model, const std::string& lines, const std::vector<std::string>& overrides = {}) {
  return joint_run(model, edit + lines, overrides).latents;
}

// The picture's own latents, as the end of a saved trajectory has them.
Tensor clean_of(const std::string& saved) {
  const Tensor states = read_safetensors(saved).at("trajectory");
  return slice(states, 0, states.dim(0) - 1, states.dim(0));
}

// Under the black of a mask the picture's own latents stay to the bit, whatever edits it; a white mask is none.
TEST(FlowEdits, KeepWhatTheMaskKeeps) {
  const std::string saved = scratch("masked.safetensors"), white = scratch("white.png");
  write_png(white, {.width = 24, .height = 16, .channels = 1, .pixels = std::vector<uint8_t>(24 * 16, 255)}, {});
  for (const std::string model : {"sd3", "flux"}) {
    latents(model, "sampler: {name: rf2, steps: 2}\ninversion: {save: " + saved + "}\n");
    const std::vector<float> clean = clean_of(saved).to_vector();
    for (const std::string editor :
         {"sampler: {name: rf2, steps: 3, guidance: 2}\nattention: [rf_edit: {inject_steps: 1}]\n",
          "sampler: {name: euler, steps: 3, guidance: 2}\ninversion: {method: rf_inversion}\n",
          "sampler: {name: euler, steps: 3, guidance: 2}\ninversion: {method: flow_edit, flow_edit: {n_max: 2}}\n"}) {
      const auto masked = [&](const std::string& mask) {
        const Tensor result = latents(model, editor, {"source.mask=" + mask});
        return (model == "flux" ? unpack_latents(result, 8, 12) : result).to_vector();
      };
      const std::vector<float> kept = masked(testing::joint_root + "mask.png");
      size_t equal = 0;
      for (size_t i = 0; i < kept.size(); ++i) equal += kept[i] == clean[i] ? 1 : 0;
      EXPECT_GT(equal, kept.size() / 2) << model << " " << editor;
      EXPECT_LT(equal, kept.size() * 9 / 10) << model << " " << editor;
      EXPECT_EQ(masked(white), masked("")) << model << " " << editor;
    }
  }
}

TEST(FlowEdits, NoInjectedStepsAreInversionAndSamplingAlone) {
  for (const std::string model : {"sd3", "flux"}) {
    for (const std::string solver : {"rf2", "fireflow", "heun", "euler"}) {
      const std::string sampler = "sampler: {name: " + solver + ", steps: 3, guidance: 2}\n";
      const std::vector<float> plain = latents(model, sampler).to_vector();
      EXPECT_EQ(latents(model, sampler + "attention: [rf_edit: {inject_steps: 0}]\n").to_vector(), plain) << solver;
      EXPECT_NE(latents(model, sampler + "attention: [rf_edit: {inject_steps: 1}]\n").to_vector(), plain) << solver;
    }
  }
}

// The same prompt without guidance is a reconstruction, with shared values as without.
TEST(FlowEdits, SharedValuesKeepAReconstruction) {
  const std::string saved = scratch("reconstruction.safetensors");
  const std::string same =
      "source: {image: source.png, prompt: a photo of two hats}\nprompt: a photo of two hats\n"
      "task: edit\ntext: {max_sequence_length: 12}\n"
      "sampler: {name: rf2, steps: 24, guidance: 1}\n";
  const auto error = [&](const std::string& attention) {
    const Tensor out = joint_run("sd3", same + attention, {"inversion.save=" + saved}).latents;
    return error_over_std(out, clean_of(saved));
  };
  const double plain = error(""), shared = error("attention: [rf_edit: {}]\n");
  std::printf("  reconstruction, over the deviation: %.1e alone, %.1e with shared values\n", plain, shared);
  EXPECT_LE(plain, 0.05);
  EXPECT_LE(shared, 3 * plain + 0.01);
}

TEST(FlowEdits, ALoadedInversionLeavesTheSameValues) {
  const std::string saved = scratch("loaded.safetensors");
  const std::string method = "attention: [rf_edit: {inject_steps: 2}]\n";
  for (const std::string model : {"sd3", "flux"}) {
    for (const std::string solver : {"rf2", "fireflow", "euler"}) {
      const std::string lines = "sampler: {name: " + solver + ", steps: 4, guidance: 2}\n" + method;
      const std::vector<float> inverted = latents(model, lines, {"inversion.save=" + saved}).to_vector();
      EXPECT_EQ(latents(model, lines, {"inversion.load=" + saved}).to_vector(), inverted) << model << " " << solver;
    }
  }
}

// Of SD3 a prompt of two chunks has a longer text than one of one. Both directions have the longer: the shorter text
// has an empty chunk more, as BREAK writes it. (Without T5, which would read the word.)
TEST(FlowEdits, SourceAndTargetHaveTextsOfOneLength) {
  std::string longer;
  for (int i = 0; i < 90; ++i) longer += "cat ";
  const std::string shorter = "two hats", filled = "two hats BREAK";
  const auto edited = [](const std::string& from, const std::string& to, const std::string& method) {
    const std::string sampler = "sampler: {name: rf2, steps: 2, guidance: 2}\n";
    return joint_run("sd3_no_t5", "task: edit\nprompt: " + to + "\nsource: {image: source.png, prompt: " + from +
                                      "}\ntext: {max_sequence_length: 4, long_prompts: chunks, weights: a1111}\n" +
                                      sampler + method)
        .latents.to_vector();
  };
  for (const std::string tokens : {"all", "image"}) {
    const std::string method =
        "attention: [rf_edit: {inject_steps: 1, inject_blocks: [0, 1], tokens: " + tokens + "}]\n";
    EXPECT_EQ(edited(shorter, longer, method), edited(filled, longer, method)) << tokens;
    EXPECT_EQ(edited(longer, shorter, method), edited(longer, filled, method)) << tokens;
    EXPECT_NE(edited(longer, shorter, method), edited(longer, shorter, "")) << tokens;
  }
}

TEST(FlowEdits, SavedNoiseIsWhatRunsTakeAsNoise) {
  const std::string saved = scratch("noise.safetensors");
  for (const std::string model : {"sd3", "flux"}) {
    const std::string sampler = "sampler: {name: rf2, steps: 3, guidance: 2}\n";
    const std::vector<float> edited = latents(model, sampler, {"inversion.save=" + saved}).to_vector();
    const std::string again = "prompt: a photo of two hats\ntext: {max_sequence_length: 12}\nnoise: " + saved + "\n";
    EXPECT_EQ(joint_run(model, again + sampler).latents.to_vector(), edited);
  }
}

// The moments at which a method has its turn before steps.
struct Turns final : Method {
  static inline std::vector<std::pair<int, int>> seen;  // step, stage
  static Params<Turns> params() { return {}; }
  void declare(PlanBuilder& plan) override {
    plan.hooks.before_step.push_back([](const Moment& m) { seen.emplace_back(m.step, m.stage); });
  }
};
REGISTER_METHOD(turns, Turns, "notes its turns", "this test");

TEST(FlowEdits, MethodsHaveATurnInEveryStep) {
  const auto turns = [](const std::string& solver) {
    Turns::seen.clear();
    latents("sd3", "sampler: {name: " + solver + ", steps: 3, guidance: 2}\nattention: [turns: {}]\n");
    return Turns::seen;
  };
  using Seen = std::vector<std::pair<int, int>>;
  EXPECT_EQ(turns("euler"), (Seen{{0, 0}, {1, 0}, {2, 0}}));
  EXPECT_EQ(turns("rf2"), (Seen{{0, 0}, {1, 0}, {2, 0}}));
  EXPECT_EQ(turns("fireflow"), (Seen{{0, 0}, {1, 1}, {2, 1}}));
}

TEST(FlowEdits, WhatIsLeftOpenIsTheEditorsOwn) {
  const auto resolved = [](const std::string& model, const std::string& lines) {
    return joint_run(model, edit + lines).preset;
  };
  Preset preset = resolved("sd3", "sampler: {name: rf2, steps: 2}\n");
  EXPECT_EQ(preset.inversion->method, InversionMethod::solver);
  EXPECT_EQ(preset.inversion->guidance, 1);
  preset = resolved("sd3", "inversion: {method: flow_edit}\n");
  EXPECT_EQ(preset.sampler.steps, 50);
  EXPECT_EQ(preset.sampler.guidance, 13.5);
  EXPECT_EQ(preset.inversion->guidance, 3.5);
  EXPECT_EQ(preset.inversion->flow_edit->n_max, 33);
  preset = resolved("flux", "inversion: {method: flow_edit}\n");
  EXPECT_EQ(preset.sampler.steps, 28);
  EXPECT_EQ(preset.sampler.guidance, 5.5);
  EXPECT_EQ(preset.inversion->guidance, 1.5);
  EXPECT_EQ(preset.inversion->flow_edit->n_max, 24);
}

std::string refusal(const std::string& model, const std::string& lines,
                    const std::vector<std::string>& overrides = {}) {
  return testing::refusal_of([&] { latents(model, lines, overrides); }, "composed");
}

TEST(FlowEdits, RefusesWhatDoesNotGoTogether) {
  const std::string few = "sampler: {name: euler, steps: 3}\n";
  const auto inversion = [&](const std::string& keys, const std::string& model = "sd3") {
    return refusal(model, few + "inversion: {" + keys + "}\n");
  };
  const auto names = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), text.npos) << text;
  };
  names(inversion("method: flow_edit, flow_edit: {n_max: 4}"), "[inversion.flow_edit.n_max] wanted 1 to 3; got 4");
  names(inversion("method: flow_edit, flow_edit: {n_max: 2, n_min: 3}"), "[inversion.flow_edit.n_min] wanted 0 to 2");
  names(inversion("method: flow_edit, flow_edit: {n_avg: 0}"), "n_avg] wanted a whole number, 1 to 1000");
  names(refusal("sd3", few + "inversion: {method: flow_edit, flow_edit: {n_max: 2, n_min: 1}}\n",
                {"source.mask=" + testing::joint_root + "mask.png"}),
        "[source.mask] wanted n_min: 0");
  names(inversion("method: flow_edit, save: x.safetensors"), "[inversion.save]");
  names(inversion("method: flow_edit, rf_inversion: {}"), "[inversion.rf_inversion]");
  names(inversion("method: solver, flow_edit: {n_max: 2}"), "[inversion.flow_edit]");
  names(inversion("method: rf_inversion, rf_inversion: {gamma: 1.5}"), "gamma] wanted a number, 0 to 1");
  names(inversion("method: rf_inversion, rf_inversion: {eta: nan}"), "eta");
  names(inversion("method: rf_inversion, rf_inversion: {start: 0.5, stop: 0.2}"), "[inversion.rf_inversion.start]");
  names(inversion("method: rf_inversion, rf_inversion: {etta: 1}"), "eta");
  names(refusal("sd3", few + "images: 2\ninversion: {method: rf_inversion, save: x.safetensors}\n"), "images: 1");
  names(inversion("method: ddim"), "[inversion.method] wanted solver or fixed_point");
  names(inversion("guidance: 3", "schnell"), "[inversion.guidance] wanted none");
  names(refusal("sd3", "sampler: {name: unipc, steps: 3}\n"), "[sampler] wanted euler, heun, rf2 or fireflow");
  names(refusal("sd3", "sampler: {name: rf2, steps: 3}\ninversion: {method: flow_edit}\n"), "[sampler] wanted euler");
  names(refusal("sd3", few + "inversion: {method: flow_edit}\nattention: [rf_edit: {}]\n"),
        "wanted an inverted picture to store from");
  names(refusal("sd3", few + "inversion: {method: flow_edit}\nattention: [turns: {}]\n"), "[inversion.method]");
  names(refusal("sd3", few + "attention: [rf_edit: {inject_steps: 4}]\n"), "to 3, or a share below 1");
}

}  // namespace
}  // namespace heddle
