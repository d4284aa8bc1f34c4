// Drawn cases keep to their world, and words stand for them.
#include "promises/cases.h"

#include <gtest/gtest.h>

#include <set>

#include "attention_control/plugins/registry.h"
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "promises/promise.h"

namespace heddle {
namespace {

const std::string shipped = std::string(HEDDLE_SOURCE_DIR) + "/presets/promises/";

World world() {
  return World::read(shipped + "emoji-world.yaml");
}

TEST(Cases, AreAFunctionOfGroupAndIndex) {
  const CaseGroup group{.name = "g", .subjects = {WantedKind::any, WantedKind::any}};
  std::set<std::string> prompts;
  for (int i = 0; i < 50; ++i) {
    const Case one = draw_case(world(), group, i), again = draw_case(world(), group, i);
    EXPECT_EQ(one.prompt, again.prompt);
    EXPECT_EQ(one.seed, again.seed);
    prompts.insert(one.prompt);
  }
  EXPECT_GT(prompts.size(), 45u);
}

TEST(Cases, KeepHeldOutCombinationsApart) {
  const World w = world();
  for (const HeldOutUse use : {HeldOutUse::never, HeldOutUse::only}) {
    const CaseGroup group{.name = "h", .subjects = {WantedKind::any, WantedKind::painted}, .held_out = use};
    for (int i = 0; i < 200; ++i) {
      const Case c = draw_case(w, group, i);
      bool unseen = w.is_held_out_pair(c.subjects[0].name, c.subjects[1].name);
      for (const WantedSubject& s : c.subjects) unseen = unseen || w.is_held_out(s.name, s.colour);
      EXPECT_EQ(unseen, use == HeldOutUse::only) << c.prompt;
    }
  }
}

TEST(Cases, SameIsTheOneBeforeInAnotherColour) {
  const CaseGroup group{.name = "s", .subjects = {WantedKind::painted, WantedKind::same}};
  for (int i = 0; i < 50; ++i) {
    const Case c = draw_case(world(), group, i);
    EXPECT_EQ(c.subjects[0].name, c.subjects[1].name);
    EXPECT_NE(c.subjects[0].colour, c.subjects[1].colour);
  }
  for (const WantedKind before : {WantedKind::own, WantedKind::any}) {
    EXPECT_THROW(draw_case(world(), {.name = "s", .subjects = {before, WantedKind::same}}, 0), Error);
  }
  EXPECT_THROW(draw_case(world(), {.name = "s", .subjects = {WantedKind::same}}, 0), Error);
  EXPECT_THROW(
      draw_case(world(),
                {.name = "s", .subjects = {WantedKind::painted, WantedKind::same}, .edit = EditedPart::subject}, 0),
      Error);
}

TEST(Cases, PlaceBoxesAsTheRelationSays) {
  for (const std::string relation : {"left of", "right of", "above", "below"}) {
    const CaseGroup group{.name = "r", .subjects = {WantedKind::any, WantedKind::any}, .relation = relation};
    for (int i = 0; i < 20; ++i) {
      const Case c = draw_case(world(), group, i);
      const auto &a = c.subjects[0].box, &b = c.subjects[1].box;
      const size_t axis = relation == "above" || relation == "below" ? 1 : 0;
      const bool first = relation == "left of" || relation == "above";
      EXPECT_LT((first ? a : b)[axis], (first ? b : a)[axis]) << relation;
      EXPECT_LE((first ? a : b)[axis + 2], (first ? b : a)[axis] + 1e-9) << "boxes are apart";
      for (const double edge : a) EXPECT_TRUE(edge >= 0 && edge <= 1);
      EXPECT_NE(c.prompt.find(" " + relation + " "), std::string::npos);
    }
  }
}

TEST(Cases, SpeakTheGrammar) {
  EXPECT_EQ(caption({{.name = "owl"}}, "", "at night"), "an owl at night");
  EXPECT_EQ(caption({{.name = "cat"}, {.name = "balloon", .colour = "orange"}}, "and", "on grass"),
            "a cat and an orange balloon on grass");
  EXPECT_EQ(caption({{.name = "fox"}, {.name = "car", .colour = "blue"}, {.name = "pig"}}, "", "on sand"),
            "a fox, a blue car and a pig on sand");
}

TEST(Cases, EditsChangeOnePart) {
  for (const EditedPart part : {EditedPart::subject, EditedPart::colour, EditedPart::background}) {
    const CaseGroup group{.name = "e", .subjects = {WantedKind::painted}, .edit = part};
    for (int i = 0; i < 30; ++i) {
      const Case c = draw_case(world(), group, i);
      const WantedSubject &a = c.subjects[0], &b = c.edited_subjects[0];
      EXPECT_NE(c.prompt, c.edited_prompt);
      EXPECT_EQ(a.name != b.name, part == EditedPart::subject);
      EXPECT_EQ(a.colour != b.colour, part == EditedPart::colour);
      EXPECT_EQ(c.background != c.edited_background, part == EditedPart::background);
    }
  }
}

TEST(Cases, RefuseWhatTheWorldLacks) {
  World small{.own = {"cat", "dog"}, .painted = {"car", "star"}, .colours = {"red", "blue"}};
  small.backgrounds.entries = {{"grass", "on grass"}, {"sand", "on sand"}};
  EXPECT_THROW(draw_case(small, {.name = "g", .subjects = {}}, 0), Error);
  EXPECT_THROW(draw_case(small, {.name = "g", .subjects = {WantedKind::own}, .held_out = HeldOutUse::only}, 0), Error);
  EXPECT_THROW(draw_case(small, {.name = "g", .subjects = {WantedKind::own, WantedKind::own, WantedKind::own}}, 0),
               Error);
  EXPECT_THROW(draw_case(small, {.name = "g", .subjects = {WantedKind::own}, .edit = EditedPart::colour}, 0), Error);
  EXPECT_THROW(draw_case(small, {.name = "g", .subjects = {WantedKind::own}, .set = 9}, 0), Error);
}

TEST(Words, ReplaceWholeScalarsAndParts) {
  const std::map<std::string, YamlNode> words{{"a", YamlNode::words("red car")},
                                              {"box_a", YamlNode::list({YamlNode::scalar("0"), YamlNode::scalar("1")})},
                                              {"to", YamlNode::words("cat")}};
  const YamlNode node = parse_yaml("x: [$a, \"a $a here\"]\nb: $box_a\nm: {$to: 1}\n", "t.yaml");
  EXPECT_EQ(yaml_to_json(with_words(node, words)), R"({"x":["red car","a red car here"],"b":[0,1],"m":{"cat":1}})");
  try {
    with_words(parse_yaml("x: $bax_a\n", "t.yaml"), words);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("box_a"), std::string::npos);
  }
}

// Every promise that ships asks for presets that can be read, with methods that can be made.
TEST(Promises, ThatShipMakePresets) {
  const std::vector<std::string> names = promise_names();
  EXPECT_GE(names.size(), 10u);
  for (const std::string& name : names) {
    const PromiseSpec spec = PromiseSpec::read(find_promise(name));
    EXPECT_EQ(spec.name, name);
    for (const CaseGroup& group : spec.groups) {
      for (int i = 0; i < 5; ++i) {
        const Case wanted = draw_case(world(), group, i);
        for (const auto& over : {spec.source, spec.plain, spec.method}) {
          const YamlNode node = case_preset(
              spec, over, wanted, spec.source ? std::optional(SourceFiles{"source.png", "mask.png"}) : std::nullopt);
          if (node.find("prompt") == nullptr && node.find("attention") == nullptr) continue;
          const Preset preset = preset_from_yaml(node, {.methods = method_names()});
          for (const AttentionEntry& entry : preset.attention) make_method(entry.name, entry.settings);
        }
      }
    }
  }
}

// Every method has a promise of its own.
TEST(Promises, CoverEveryMethod) {
  const std::vector<std::string> promises = promise_names();
  for (const std::string& method : method_names())
    EXPECT_NE(std::ranges::find(promises, method), promises.end()) << method;
}

}  // namespace
}  // namespace heddle
