// Gates in presets, and as steps.
#include "attention_control/plugins/word_gates.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {

void ParamType<Gate>::read(const YamlNode& node, const Limits&, Gate& out) {
  if (node.kind != YamlNode::Kind::list) {
    out = {0, read_number(node, range(0, 1))};
    return;
  }
  std::array<double, 2> bounds{};
  ParamType<std::array<double, 2>>::read(node, range(0, 1), bounds);
  if (bounds[0] > bounds[1]) fail_yaml(node, "from before to");
  out = {bounds[0], bounds[1]};
}

YamlNode ParamType<Gate>::write(const Gate& value) {
  const YamlNode to = YamlNode::scalar(number_text(value.to));
  return value.from == 0 ? to : YamlNode::list({YamlNode::scalar(number_text(value.from)), to});
}

void ParamType<WordGates>::read(const YamlNode& node, const Limits&, WordGates& out) {
  out = {};
  if (node.kind != YamlNode::Kind::map) return ParamType<Gate>::read(node, {}, out.all);
  for (const YamlEntry& entry : node.entries) {
    Gate gate;
    ParamType<Gate>::read(entry.value, {}, gate);
    if (entry.key == "default") {
      out.all = gate;
    } else {
      out.words.emplace_back(entry.key, gate);
    }
  }
}

YamlNode ParamType<WordGates>::write(const WordGates& value) {
  const YamlNode all = ParamType<Gate>::write(value.all);
  if (value.words.empty()) return all;
  YamlNode map;
  map.add("default", all);
  for (const auto& [word, gate] : value.words) map.add(word, ParamType<Gate>::write(gate));
  return map;
}

bool is_open(const Gate& gate, int step, int length) {
  return static_cast<int>(gate.from * length) <= step && step < static_cast<int>(gate.to * length);
}

std::vector<float> open_tokens(const WordGates& gates, const PromptTokens& prompt, int step, int steps) {
  std::vector<float> open(static_cast<size_t>(prompt.length), is_open(gates.all, step, steps + 1) ? 1.0f : 0.0f);
  for (const auto& [word, gate] : gates.words) {
    for (const int64_t at : places_of(prompt, word))
      open[static_cast<size_t>(at)] = is_open(gate, step, steps + 1) ? 1.0f : 0.0f;
  }
  return open;
}

std::vector<int64_t> places_of(const PromptTokens& prompt, const std::string& word) {
  try {
    return prompt.find(word, "");
  } catch (const Error&) {
    return {};
  }
}

}  // namespace heddle
