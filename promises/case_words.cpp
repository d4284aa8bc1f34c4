// What the `$words` of a promise stand for in a case.
#include <algorithm>

#include "kernels/core/error.h"
#include "promises/cases.h"

namespace heddle {

std::map<std::string, YamlNode> case_words(const Case& c) {
  std::map<std::string, YamlNode> words{{"prompt", YamlNode::words(c.prompt)},
                                        {"seed", YamlNode::scalar(std::to_string(c.seed))},
                                        {"background", YamlNode::words(c.background)}};
  const std::array<std::string, 3> letters{"a", "b", "c"};
  for (size_t i = 0; i < c.subjects.size(); ++i) {
    const WantedSubject& s = c.subjects[i];
    words[letters[i]] = YamlNode::words(s.noun());
    words[letters[i] + "_name"] = YamlNode::words(s.name);
    if (!s.colour.empty()) words[letters[i] + "_colour"] = YamlNode::words(s.colour);
    std::vector<YamlNode> box;
    for (const double edge : s.box) box.push_back(YamlNode::scalar(number_text(edge)));
    words["box_" + letters[i]] = YamlNode::list(std::move(box));
  }
  if (c.edit != EditedPart::none) {
    const WantedSubject &before = c.subjects[0], &after = c.edited_subjects[0];
    const bool background = c.edit == EditedPart::background, colour = c.edit == EditedPart::colour;
    words["edited"] = YamlNode::words(c.edited_prompt);
    words["from"] = YamlNode::words(background ? c.background : colour ? before.colour : before.name);
    words["to"] = YamlNode::words(background ? c.edited_background : colour ? after.colour : after.name);
  }
  if (!c.set.empty()) {
    std::vector<YamlNode> prompts;
    for (const std::string& prompt : c.set) prompts.push_back(YamlNode::words(prompt));
    words["set"] = YamlNode::list(std::move(prompts));
  }
  return words;
}

namespace {

const YamlNode& word_named(const std::string& name, const YamlNode& at, const std::map<std::string, YamlNode>& words) {
  const auto found = words.find(name);
  if (found != words.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [word, _] : words) known.push_back(word);
  fail(ErrorCode::usage, at.where, "a word of the case: " + one_of(known).text(), "$" + name,
       nearest_word(name, known));
}

YamlNode with_text(const YamlNode& node, const std::map<std::string, YamlNode>& words) {
  constexpr const char* letters = "abcdefghijklmnopqrstuvwxyz_";
  std::string text;
  for (size_t at = 0; at < node.text.size();) {
    if (node.text[at] != '$') {
      text += node.text[at++];
      continue;
    }
    const size_t end = std::min(node.text.find_first_not_of(letters, at + 1), node.text.size());
    const YamlNode& value = word_named(node.text.substr(at + 1, end - at - 1), node, words);
    if (at == 0 && end == node.text.size()) {
      YamlNode whole = value;
      whole.where = node.where;
      return whole;
    }
    text += value.text;
    at = end;
  }
  YamlNode out = node;
  out.text = text;
  return out;
}

}  // namespace

YamlNode with_words(const YamlNode& node, const std::map<std::string, YamlNode>& words) {
  if (node.kind == YamlNode::Kind::scalar) return with_text(node, words);
  YamlNode out = node;
  for (YamlNode& item : out.items) item = with_words(item, words);
  for (YamlEntry& entry : out.entries) {
    entry.key = with_text(YamlNode::words(entry.key), words).text;
    entry.value = with_words(entry.value, words);
  }
  return out;
}

}  // namespace heddle
