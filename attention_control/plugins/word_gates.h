// Gates of Prompt-to-Prompt: in which steps each word of the target is edited.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "attention_control/plan/words.h"
#include "io/params.h"

namespace heddle {

// Shares of the run; a single number is where the gate closes.
struct Gate {
  double from = 0, to = 1;
};

// One gate for all words, or `default` (1 if not given) and words of their own.
struct WordGates {
  Gate all;
  std::vector<std::pair<std::string, Gate>> words;
};

template <>
struct ParamType<Gate> : PlainParam {
  static std::string name() { return "number, or [from, to]"; }
  static void read(const YamlNode& node, const Limits&, Gate& out);
  static YamlNode write(const Gate& value);
};
template <>
struct ParamType<WordGates> : PlainParam {
  static std::string name() { return "number, [from, to], or a map of default and words to these"; }
  static void read(const YamlNode& node, const Limits&, WordGates& out);
  static YamlNode write(const WordGates& value);
};

// Whether a gate is open at a step, where shares count `length` steps: int(from length) <= step < int(to length).
bool is_open(const Gate& gate, int step, int length);
// 1 for each text token whose gate is open at a step of a run of `steps`, else 0. As in the official code a run counts
// one step more here, so that 0.8 of 50 steps are steps 0 to 39. Words that the prompt has not are left out.
std::vector<float> open_tokens(const WordGates& gates, const PromptTokens& prompt, int step, int steps);

// Positions of a word in a prompt; none where the prompt has not got it.
std::vector<int64_t> places_of(const PromptTokens& prompt, const std::string& word);

}  // namespace heddle
