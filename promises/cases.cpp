// Draws cases.
#include "promises/cases.h"

#include <algorithm>
#include <random>
#include <set>

#include "kernels/core/error.h"

namespace heddle {

template <>
struct ParamWords<WantedKind> {
  static constexpr std::array<const char*, 4> words{"any", "own", "painted", "same"};
};
template <>
struct ParamWords<HeldOutUse> {
  static constexpr std::array<const char*, 2> words{"never", "only"};
};
template <>
struct ParamWords<EditedPart> {
  static constexpr std::array<const char*, 4> words{"none", "subject", "colour", "background"};
};

Params<CaseGroup> CaseGroup::params() {
  using G = CaseGroup;
  return {need("name", &G::name, "what the group is called in the report"),
          opt("count", &G::count, range(1, 100000), "pairs of runs"),
          need("subjects", &G::subjects, "the kind of each subject, one to three"),
          opt("relation", &G::relation, "between two subjects: and, left of, right of, above, below; any if not given"),
          opt("held_out", &G::held_out, "whether only what training never showed is drawn"),
          opt("edit", &G::edit, "what $edited changes"),
          opt("set", &G::set, range(0, 16), "how many prompts $set has")};
}

namespace {

// Whole numbers below n from the same 64 bits everywhere; the distributions of <random> differ between libraries.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  size_t below(size_t n) { return static_cast<size_t>(engine_() % n); }
  double share() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  template <typename T>
  const T& of(const std::vector<T>& list) {
    return list[below(list.size())];
  }

 private:
  std::mt19937_64 engine_;
};

WantedSubject draw_subject(const World& world, WantedKind kind, Dice& dice) {
  const bool painted = kind == WantedKind::painted || (kind == WantedKind::any && dice.below(2) == 0);
  return painted ? WantedSubject{.name = dice.of(world.painted), .colour = dice.of(world.colours)}
                 : WantedSubject{.name = dice.of(world.own)};
}

std::vector<WantedSubject> draw_subjects(const World& world, const std::vector<WantedKind>& kinds, Dice& dice) {
  std::vector<WantedSubject> out;
  for (const WantedKind kind : kinds) {
    out.push_back(kind == WantedKind::same ? WantedSubject{.name = out.back().name, .colour = dice.of(world.colours)}
                                           : draw_subject(world, kind, dice));
  }
  return out;
}

// Whether subjects differ as the kinds want it: in name, or for `same` in colour.
bool all_differ(const std::vector<WantedSubject>& subjects, const std::vector<WantedKind>& kinds) {
  std::set<std::string> names, nouns;
  for (size_t i = 0; i < subjects.size(); ++i) {
    if (!nouns.insert(subjects[i].noun()).second) return false;
    if (kinds[i] != WantedKind::same && !names.insert(subjects[i].name).second) return false;
  }
  return true;
}

bool has_held_out(const World& world, const std::vector<WantedSubject>& subjects) {
  for (size_t i = 0; i < subjects.size(); ++i) {
    if (world.is_held_out(subjects[i].name, subjects[i].colour)) return true;
    for (size_t k = 0; k < i; ++k) {
      if (world.is_held_out_pair(subjects[i].name, subjects[k].name)) return true;
    }
  }
  return false;
}

// Boxes beside or above each other, in the order that the relation asks for.
void place(std::vector<WantedSubject>& subjects, const std::string& relation, Dice& dice) {
  const size_t n = subjects.size();
  const bool upright = relation == "above" || relation == "below" || (relation == "and" && dice.share() < 0.3);
  const bool swapped = relation == "right of" || relation == "below" || (relation == "and" && dice.below(2) == 0);
  const double side = n == 1 ? 0.5 + 0.12 * dice.share() : n == 2 ? 0.40 + 0.07 * dice.share() : 0.31;
  for (size_t i = 0; i < n; ++i) {
    const double along = (static_cast<double>(swapped ? n - 1 - i : i) + 0.5) / static_cast<double>(n);
    const double across = 0.5 + (n == 1 ? 0.2 : 0.08) * (dice.share() - 0.5);
    const double x = upright ? across : along, y = upright ? along : across;
    const auto edge = [&](double at) { return std::clamp(at, 0.0, 1.0); };
    subjects[i].box = {edge(x - side / 2), edge(y - side / 2), edge(x + side / 2), edge(y + side / 2)};
  }
}

std::string draw_relation(const CaseGroup& group, Dice& dice) {
  static const std::vector<std::string> others{"left of", "right of", "above", "below"};
  if (group.subjects.size() != 2) return "";
  if (!group.relation.empty()) return group.relation;
  return dice.share() < 0.6 ? "and" : dice.of(others);
}

const std::string& phrase(const World& world, const std::string& background) {
  for (const auto& [name, words] : world.backgrounds.entries) {
    if (name == background) return words;
  }
  return background;
}

std::string draw_background(const World& world, Dice& dice) {
  return world.backgrounds.entries[dice.below(world.backgrounds.entries.size())].first;
}

// The first subject becomes another of its kind, or its colour, or the background.
void edit(const World& world, const CaseGroup& group, Case& out, Dice& dice) {
  out.edit = group.edit;
  WantedSubject& first = out.edited_subjects[0];
  const WantedSubject before = first;
  const auto unchanged = [&] {
    if (group.edit == EditedPart::background) return out.edited_background == out.background;
    return (group.edit == EditedPart::subject ? first.name == before.name : first.colour == before.colour) ||
           !all_differ(out.edited_subjects, group.subjects) || has_held_out(world, out.edited_subjects);
  };
  for (int tries = 0; tries < 10000; ++tries) {
    if (group.edit == EditedPart::subject) first.name = dice.of(before.colour.empty() ? world.own : world.painted);
    if (group.edit == EditedPart::colour) first.colour = dice.of(world.colours);
    if (group.edit == EditedPart::background) out.edited_background = draw_background(world, dice);
    if (!unchanged()) break;
  }
  out.edited_prompt = caption(out.edited_subjects, out.relation, phrase(world, out.edited_background));
}

std::vector<std::string> draw_set(const World& world, const Case& first, int count, Dice& dice) {
  std::vector<std::string> prompts{first.prompt};
  std::set<std::string> used{first.subjects[0].name};
  while (static_cast<int>(prompts.size()) < count) {
    const WantedSubject s = draw_subject(world, WantedKind::any, dice);
    if (world.is_held_out(s.name, s.colour) || !used.insert(s.name).second) continue;
    prompts.push_back(caption({s}, "", ""));
  }
  return prompts;
}

void check(const World& world, const CaseGroup& group) {
  const std::string where = "group " + group.name;
  if (group.subjects.empty() || group.subjects.size() > 3)
    fail(ErrorCode::usage, where + " subjects", "one to three", std::to_string(group.subjects.size()));
  for (size_t i = 0; i < group.subjects.size(); ++i) {
    if (group.subjects[i] == WantedKind::same &&
        (i == 0 || group.subjects[i - 1] == WantedKind::own || group.subjects[i - 1] == WantedKind::any))
      fail(ErrorCode::usage, where + " subjects", "a painted subject before one of the same kind", "another kind");
  }
  if (group.edit == EditedPart::subject && std::ranges::find(group.subjects, WantedKind::same) != group.subjects.end())
    fail(ErrorCode::usage, where + " edit", "colour or background where two subjects are the same", "subject");
  if (group.held_out == HeldOutUse::only && world.held_out.colours.empty() && world.held_out.pairs.empty())
    fail(ErrorCode::usage, where + " held_out", "a world that holds something out", "none");
  if (group.edit == EditedPart::colour && group.subjects[0] != WantedKind::painted)
    fail(ErrorCode::usage, where + " edit", "a painted first subject whose colour can change", "another kind");
  if (group.set > static_cast<int>(world.own.size() + world.painted.size()))
    fail(ErrorCode::usage, where + " set", "no more than there are subjects", std::to_string(group.set));
}

uint64_t mixed(const std::string& name, int index) {
  uint64_t hash = 1469598103934665603ULL;  // FNV-1a
  for (const char c : name + "#" + std::to_string(index))
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

}  // namespace

Case draw_case(const World& world, const CaseGroup& group, int index) {
  check(world, group);
  Dice dice(mixed(group.name, index));
  Case out;
  for (int tries = 0;; ++tries) {
    if (tries == 100000)
      fail(ErrorCode::usage, "group " + group.name, "subjects that the world can draw", "none in 100000 tries");
    out.subjects = draw_subjects(world, group.subjects, dice);
    if (all_differ(out.subjects, group.subjects) &&
        has_held_out(world, out.subjects) == (group.held_out == HeldOutUse::only))
      break;
  }
  out.relation = draw_relation(group, dice);
  place(out.subjects, out.relation, dice);
  out.background = draw_background(world, dice);
  out.prompt = caption(out.subjects, out.relation, phrase(world, out.background));
  out.seed = static_cast<int64_t>(dice.below(1000000));
  out.edited_subjects = out.subjects;
  out.edited_background = out.background;
  out.edited_prompt = out.prompt;
  if (group.edit != EditedPart::none) edit(world, group, out, dice);
  if (group.set > 0) out.set = draw_set(world, out, group.set, dice);
  return out;
}

}  // namespace heddle
