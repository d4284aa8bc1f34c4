// A small world that a model was trained on: what can be in its pictures, and how its captions say so. Data, read from
// YAML; presets/promises/emoji-world.yaml is the one that ships.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/params.h"

namespace heddle {

using WordPair = std::array<std::string, 2>;

struct HeldOut {
  std::vector<WordPair> colours;  // subject and colour that training never showed together
  std::vector<WordPair> pairs;    // subjects that training never showed together
  static Params<HeldOut> params();
};

struct World {
  std::vector<std::string> own;      // subjects in their own colours
  std::vector<std::string> painted;  // subjects in any of `colours`
  std::vector<std::string> colours;
  Named<std::string> backgrounds;  // name, and the phrase that ends a caption: "grass", "on grass"
  HeldOut held_out;
  static Params<World> params();

  static World read(const std::string& path);  // Error(usage) or Error(input)

  bool is_held_out(const std::string& subject, const std::string& colour) const;
  bool is_held_out_pair(const std::string& one, const std::string& other) const;
};

struct WantedSubject {
  std::string name, colour;     // colour empty: its own
  std::array<double, 4> box{};  // x0, y0, x1, y1 as shares of the picture: where it may be asked to stand
  std::string noun() const { return colour.empty() ? name : colour + " " + name; }  // "red balloon"
};

// "a cat and a red balloon on grass", "a dog left of a panda on sand", "a fox, a blue car and a pink star at night".
std::string caption(const std::vector<WantedSubject>& subjects, const std::string& relation,
                    const std::string& background_phrase);

}  // namespace heddle
