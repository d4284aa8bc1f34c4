// Methods on the joint attention of SD3 and FLUX: what changes nothing, what is refused, maps of words, the plan in
// words. Runs against originals are cases of test_methods.cpp.
#include <gtest/gtest.h>

#include <map>

#include "attention_control/plugins/registry.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generate.h"
#include "tests/pipelines/word_maps_check.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"

namespace heddle {
namespace {

Model& model_at(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Model>> open;
  auto& slot = open[name];
  if (!slot) slot = std::make_unique<Model>(std::string(HEDDLE_FIXTURES) + "/methods/models/joint_" + name, DType::f32);
  return *slot;
}

Preset preset(const std::string& model, const std::string& more) {
  const std::string guidance = model == "flux" ? "guidance: 3, true_guidance: 4" : "guidance: 4";
  const std::string prompt = more.find("prompt") == std::string::npos ? "prompt: a cat and a red hat\n" : "";
  const std::string text = "heddle: 1\nmodel: joint_" + model + "\n" + prompt +
                           "negative: blurry\nsize: [24, 16]\nseed: 5\ntext: {max_sequence_length: 16}\n" +
                           "sampler: {steps: 4, " + guidance + "}\n" + more;
  return preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()});
}

RunResult run(const std::string& model, const std::string& more) {
  return generate(preset(model, more), "test.yaml", model_at(model), {});
}

RunResult with(const std::string& model, const std::string& methods) {
  return run(model, "attention: [ " + methods + " ]\n");
}

const std::vector<std::string> models{"sd3", "sd3_no_t5", "flux"};

TEST(JointMethods, ZeroStrengthIsThePlainRunBitForBit) {
  for (const std::string& model : models) {
    const std::vector<float> plain = run(model, "").latents.to_vector();
    for (const char* method : {"attend_and_excite: {subject_tokens: [cat, hat], scale: 0}",
                               "a_star: {concept_tokens: [cat, hat], step_size: {scale: 0}}",
                               "perturbed_attention: {scale: 0}", "tgate: {gate_step: 4, sp_interval: 1, text: freeze}",
                               "tgate: {gate_step: 4, sp_interval: 1, text: partial}"})
      EXPECT_EQ(with(model, method).latents.to_vector(), plain) << model << " " << method;
  }
}

const std::string p2p = "prompt_to_prompt: {source_prompt: a cat, target_prompt: a dog";
const std::string masa = "masactrl: {source: {prompt: a cat}, target_prompt: a dog";
const std::string style = "style_aligned: {prompts: [a cat, a dog]";

std::vector<float> row(const RunResult& result, int64_t i) {
  return contiguous(slice(result.latents, 0, i, i + 1)).to_vector();
}

TEST(JointMethods, EditsAtZeroStrengthAreThePlainRunBitForBit) {
  for (const std::string& model : models) {
    const std::vector<float> same_noise = with(model, masa + ", start_step: 4}").latents.to_vector();
    EXPECT_EQ(with(model, p2p + ", self_replace: 0}").latents.to_vector(), same_noise) << model;
    EXPECT_EQ(with(model, p2p + ", inject: maps, cross_replace: 0, self_replace: 0}").latents.to_vector(), same_noise)
        << model;
    EXPECT_EQ(with(model, style + ", share: {fraction: 0}}").latents.to_vector(),
              run(model, "prompt: [a cat, a dog]\n").latents.to_vector())
        << model;
  }
}

TEST(JointMethods, SourceIsUntouched) {
  for (const std::string& model : models) {
    const std::vector<float> alone = row(with(model, masa + ", start_step: 4}"), 0);
    for (const std::string& method :
         {p2p + ", local_blend: {words: [cat, dog]}}", p2p + ", inject: maps}", masa + ", start_step: 0}",
          masa + ", start_step: 0, variant: mask_auto, foreground_tokens: {source: cat, target: dog}}"})
      EXPECT_EQ(row(with(model, method), 0), alone) << model << " " << method;
    EXPECT_EQ(row(with(model, style + "}"), 0), row(run(model, "prompt: [a cat, a dog]\n"), 0)) << model;
  }
}

// Words of joint attention look everywhere a little: as a share of the range the same threshold keeps more of the
// source.
TEST(JointMethods, BlendsMayPartMapsByTheirRange) {
  for (const std::string& model : models) {
    const auto kept = [&](const std::string& share) {
      const RunResult both =
          with(model, p2p + ", local_blend: {words: [cat, dog], threshold: 0.6, share_of: " + share + "}}");
      const std::vector<float> source = row(both, 0), target = row(both, 1);
      int equal = 0;
      for (size_t i = 0; i < source.size(); ++i) equal += source[i] == target[i] ? 1 : 0;
      return equal;
    };
    EXPECT_GT(kept("range"), kept("peak")) << model;
  }
}

TEST(JointMethods, EqualPromptsGiveEqualPictures) {
  const std::string same = "source_prompt: a red cat, target_prompt: a red cat, self_replace: 1";
  for (const std::string& model : models) {
    for (const std::string& method :
         {"prompt_to_prompt: {" + same + "}", "prompt_to_prompt: {" + same + ", inject: maps, cross_replace: 1}",
          std::string("masactrl: {source: {prompt: a red cat}, target_prompt: a red cat, start_step: 0}")}) {
      const RunResult both = with(model, method);
      EXPECT_LE(testing::error_over_std(slice(both.latents, 0, 1, 2), slice(both.latents, 0, 0, 1)), 1e-4)
          << model << " " << method;
    }
  }
}

std::string refusal(const std::string& model, const std::string& methods) {
  return testing::refusal_of([&] { with(model, methods); }, "");
}

// Each method with T-GATE, perturbed attention and StyleAligned: it runs, whatever the order, or is refused with a
// reason.
TEST(JointMethods, ComposeOrAreRefusedWithAReason) {
  const std::vector<std::string> others{
      "tgate: {gate_step: 3, warm_up: 0, sp_interval: 2}", "tgate: {gate_step: 3, sp_interval: 1}",
      "tgate: {gate_step: 2, sp_interval: 1, text: freeze}", "perturbed_attention: {scale: 2}",
      "style_aligned: {prompts: [a cat, a cat and hat]}"};
  int composed = 0, refused = 0;
  for (const std::string& method :
       {std::string("attend_and_excite: {subject_tokens: [cat], scale: 2}"),
        std::string("a_star: {concept_tokens: [cat, a], step_size: {scale: 2}}"),
        std::string("bounded_attention: {subject_tokens: [cat], boxes: [[0, 0, 0.5, 1]], guidance: {iters: 1}}"),
        std::string("attention_modulation: {groups: [{noun: cat}, {noun: a}]}"), p2p + "}", p2p + ", inject: maps}",
        masa + "}", std::string("style_aligned: {prompts: [a cat, a cat and hat]}")}) {
    for (const std::string& other : others) {
      if (other.substr(0, 13) == method.substr(0, 13)) continue;
      for (const std::string& model : {std::string("sd3"), std::string("flux")}) {
        const std::string reason = refusal(model, method + ", " + other);
        (reason.empty() ? composed : refused) += 1;
        EXPECT_EQ(refusal(model, other + ", " + method).empty(), reason.empty()) << method << " after " << other;
        const bool says = reason.empty() || reason.find("wanted") != std::string::npos;
        EXPECT_TRUE(says) << reason;
      }
    }
  }
  std::printf("  %d composed, %d refused\n", composed, refused);
  EXPECT_GE(composed, 30);
  EXPECT_GE(refused, 10);
}

const std::string gate = "tgate: {gate_step: 2, sp_interval: 1, text: ";

// The text's tokens are gone behind the gate. Perturbed attention ends there with guidance, or goes on with it where
// the keys are held; StyleAligned's edits hold beside keys that are held, and cannot beside a part of the softmax.
TEST(JointMethods, TextThatIsLeftOutComposesOrIsRefused) {
  const std::string pag = ", perturbed_attention: {scale: 2}", styled = ", " + style + "}";
  for (const std::string& model : models) {
    for (const std::string text : {"freeze", "partial"}) {
      const Tensor both = with(model, gate + text + "}" + pag).latents;
      EXPECT_GT(testing::error_over_std(both, with(model, gate + text + "}").latents), 1e-3) << model << " " << text;
      EXPECT_GT(testing::error_over_std(both, with(model, gate + "compute}" + pag).latents), 1e-3) << model << text;
    }
    const Tensor guided = with(model, gate + "freeze, drop_guidance: false}" + pag).latents;
    EXPECT_GT(testing::error_over_std(guided, with(model, gate + "freeze}" + pag).latents), 1e-3) << model;
    const std::string no_pag = refusal(model, gate + "partial, drop_guidance: false}" + pag);
    EXPECT_NE(no_pag.find("perturbed_attention"), std::string::npos) << no_pag;
    EXPECT_NE(no_pag.find("holds their part of the softmax in their place"), std::string::npos) << no_pag;

    const RunResult set = with(model, gate + "freeze}" + styled);
    EXPECT_GT(testing::error_over_std(set.latents, with(model, gate + "compute}" + styled).latents), 1e-3) << model;
    // The reference picture is what it would be alone.
    const RunResult alone = run(model, "prompt: [a cat, a dog]\nattention: [ " + gate + "freeze} ]\n");
    EXPECT_EQ(row(set, 0), row(alone, 0)) << model;
    const std::string no_style = refusal(model, gate + "partial}" + styled);
    EXPECT_NE(no_style.find("style_aligned"), std::string::npos) << no_style;
    EXPECT_NE(no_style.find("keys held"), std::string::npos) << no_style;
  }
}

TEST(JointMethods, TextThatIsLeftOutNeedsAStreamOfItsOwn) {
  Model unet(std::string(HEDDLE_FIXTURES) + "/methods/models/sd1", DType::f32);
  for (const int gate_step : {2, 9}) {
    const std::string text = "heddle: 1\nmodel: sd1\nprompt: a cat\nsize: [32, 32]\nsampler: {steps: 4}\n" +
                             std::string("attention:\n  - tgate: {gate_step: ") + std::to_string(gate_step) +
                             ", text: freeze}\n";
    try {
      generate(preset_from_yaml(parse_yaml(text, "test"), {.methods = method_names()}), "test.yaml", unet, {});
      ADD_FAILURE() << "not refused";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_STREQ(
          e.what(),
          "[test:7 attention[0].tgate text] wanted compute, on a network that has no stream of text tokens beside the "
          "image's; got freeze; try leaving it out: cross-attention is reused behind the gate in any case");
    }
  }
  EXPECT_NE(
      refusal("sd3", "tgate: {gate_step: 2, fi_interval: 2, text: partial}").find("got partial; try fi_interval: 1"),
      std::string::npos);
}

// What the words share is the attention that does not go to start and end tokens; reading changes nothing.
TEST(JointMethods, MapsOfWordsCoverThePromptAndSumBelowOne) {
  for (const std::string& model : models) {
    const RunResult result = run(model, "images: 2\nsave_maps: maps\n");
    SCOPED_TRACE(model);
    testing::expect_maps_of_words(result, 0.5f);
    EXPECT_EQ(result.latents.to_vector(), run(model, "images: 2\n").latents.to_vector()) << model;
  }
}

TEST(JointMethods, ExplainNamesTheJointSites) {
  const auto text = [](const std::string& model, const std::string& method) {
    return explain_preset(preset(model, "attention: [ " + method + " ]\n"), "test.yaml", model_at(model)).text;
  };
  const std::string sd3 = text("sd3", "attend_and_excite: {subject_tokens: [cat]}");
  EXPECT_NE(sd3.find("block.00.joint and 2 more   image 4x6 + text 93, 2 heads"), std::string::npos) << sd3;
  EXPECT_NE(sd3.find("capture attend_and_excite, 19 keys among 22"), std::string::npos) << sd3;
  const std::string flux = text("flux", "perturbed_attention: {}");
  EXPECT_NE(flux.find("single.00.joint   text 16 + image 4x6, 2 heads   lane perturbed"), std::string::npos) << flux;
  EXPECT_NE(flux.find("pixels see themselves and text"), std::string::npos) << flux;
}

TEST(JointMethods, WhatATransformerLacksIsRefusedInWords) {
  // Levels of a UNet: the rule that takes their place is named.
  const std::string levels = refusal("sd3", "perturbed_attention: {layers: [mid]}");
  EXPECT_NE(levels.find("\"mid\""), std::string::npos) << levels;
  EXPECT_NE(levels.find("a share of depth such as \"0.4..0.6\""), std::string::npos) << levels;
  // Its tokens have one grid.
  const std::string grid = refusal("flux", "attend_and_excite: {subject_tokens: [cat], attention_res: 16}");
  EXPECT_NE(grid.find("of side 6; got 16"), std::string::npos) << grid;
  const std::string places = refusal("sd3", masa + ", positions: centre}");
  EXPECT_NE(places.find("no rotary positions"), std::string::npos) << places;
  const std::string norms = refusal("sd3", style + ", share: {group_norm: true}}");
  EXPECT_NE(norms.find("share.group_norm] wanted a network with group norms"), std::string::npos) << norms;
  const std::string edit = refusal("sd3", p2p + ", edit: refine}");
  EXPECT_NE(edit.find("inject: maps"), std::string::npos) << edit;
  const std::string gates = refusal("sd3", p2p + ", cross_replace: 0.5}");
  EXPECT_NE(gates.find("cross_replace"), std::string::npos) << gates;
  const std::string range = refusal("sd3", "attend_and_excite: {subject_tokens: [cat], text_range: to_last}");
  EXPECT_NE(range.find("padding"), std::string::npos) << range;
  // SD3's keys of text: CLIP's 77, then 16 of T5.
  const std::string boxes = "bounded_attention: {subject_tokens: [cat], boxes: [[0, 0, 0.5, 1]], eos_token: ";
  EXPECT_NE(refusal("sd3", boxes + "93}").find("eos_token] wanted a position below 93; got 93"), std::string::npos);
  EXPECT_EQ(refusal("sd3", boxes + "92, guidance: {iters: 1}}"), "");
}

TEST(JointMethods, GuidedPicturesDoNotDependOnTheirNeighbours) {
  for (const std::string method : {"attend_and_excite: {subject_tokens: [cat, hat], scale: 2}",
                                   "bounded_attention: {subject_tokens: [cat, hat], boxes: [[0, 0, 0.5, 1], [0.5, 0, "
                                   "1, 1]], guidance: {iters: 1}}"}) {
    for (const std::string& model : models) {
      const RunResult two = run(model, "images: 2\nattention: [ " + method + " ]\n"), one = with(model, method);
      EXPECT_LE(testing::error_over_std(slice(two.latents, 0, 0, 1), one.latents), 1e-4) << model << " " << method;
    }
  }
}

}  // namespace
}  // namespace heddle
