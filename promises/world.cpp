// The world's file, and its grammar.
#include "promises/world.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {

Params<HeldOut> HeldOut::params() {
  return {opt("colours", &HeldOut::colours, "pairs of a subject and a colour that training never showed"),
          opt("pairs", &HeldOut::pairs, "pairs of subjects that training never showed in one picture")};
}

Params<World> World::params() {
  return {need("own", &World::own, "subjects in their own colours"),
          need("painted", &World::painted, "subjects that come in any of the colours"),
          need("colours", &World::colours, "the colours"),
          need("backgrounds", &World::backgrounds, "names of backgrounds and the phrases that end a caption"),
          opt("held_out", &World::held_out, "what training never showed")};
}

World World::read(const std::string& path) {
  const YamlNode root = read_yaml(path);
  auto world = read_params<World>(root);
  const auto need_some = [&](const char* key, size_t count, size_t least) {
    if (count < least)
      fail(ErrorCode::usage, path + " " + key, "at least " + std::to_string(least) + " names", std::to_string(count));
  };
  need_some("own", world.own.size(), 2);
  need_some("painted", world.painted.size(), 2);
  need_some("colours", world.colours.size(), 2);
  need_some("backgrounds", world.backgrounds.entries.size(), 2);
  return world;
}

bool World::is_held_out(const std::string& subject, const std::string& colour) const {
  return std::ranges::find(held_out.colours, WordPair{subject, colour}) != held_out.colours.end();
}

bool World::is_held_out_pair(const std::string& one, const std::string& other) const {
  return std::ranges::any_of(held_out.pairs, [&](const WordPair& pair) {
    return pair == WordPair{one, other} || pair == WordPair{other, one};
  });
}

std::string caption(const std::vector<WantedSubject>& subjects, const std::string& relation,
                    const std::string& background_phrase) {
  std::string text;
  for (size_t i = 0; i < subjects.size(); ++i) {
    const std::string noun = subjects[i].noun();
    if (i > 0) {
      const bool last = i + 1 == subjects.size();
      text += subjects.size() == 2 ? " " + relation + " " : last ? " and " : ", ";
    }
    text += (std::string("aeiou").find(noun[0]) != std::string::npos ? "an " : "a ") + noun;
  }
  return background_phrase.empty() ? text : text + " " + background_phrase;
}

}  // namespace heddle
