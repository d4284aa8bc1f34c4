// What is asked of a pair of runs: subjects, colours, places, prompt and seed, drawn from a world; and how a preset's
// `$words` stand for them.
#pragma once

#include <map>

#include "promises/world.h"

namespace heddle {

enum class WantedKind : uint8_t { any, own, painted, same };  // same: the one before it, in another colour
enum class HeldOutUse : uint8_t { never, only };
enum class EditedPart : uint8_t { none, subject, colour, background };

// One group of cases, as a promise file describes it.
struct CaseGroup {
  std::string name;
  int count = 256;
  std::vector<WantedKind> subjects;  // one to three
  std::string relation;              // between two; empty: any of the grammar's, mostly "and"
  HeldOutUse held_out = HeldOutUse::never;
  EditedPart edit = EditedPart::none;  // then `$edited` is the prompt with that part changed
  int set = 0;                         // then `$set` is so many prompts of one subject each
  static Params<CaseGroup> params();
};

struct Case {
  std::vector<WantedSubject> subjects;
  std::string relation;  // of the first to the second: "and", "left of" ...; empty for one subject or three
  std::string background, prompt;
  // After the edit; the same where there is none.
  std::vector<WantedSubject> edited_subjects;
  std::string edited_background, edited_prompt;
  EditedPart edit = EditedPart::none;
  std::vector<std::string> set;
  int64_t seed = 0;
};

// Case `index` of a group: a function of (world, group, index) alone. Error(usage) where the group asks for what the
// world does not have.
Case draw_case(const World& world, const CaseGroup& group, int index);

// The values of the words that presets of promises may use: $prompt $seed $a $b $c (nouns: "red balloon"), $a_name
// $a_colour, $box_a (x0 y0 x1 y1 as shares), $background, $edited, $from, $to, $set.
std::map<std::string, YamlNode> case_words(const Case& wanted);

// `node` with every word replaced: a scalar that is one word becomes its value, inside text it becomes its text.
// Error(usage) for a word that the case does not have.
YamlNode with_words(const YamlNode& node, const std::map<std::string, YamlNode>& words);

}  // namespace heddle
