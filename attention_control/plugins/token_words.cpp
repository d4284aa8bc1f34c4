// Words and positions in presets.
#include "attention_control/plugins/token_words.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {
namespace {

bool is_number(const YamlNode& node) {
  return !node.quoted && !node.text.empty() &&
         std::ranges::all_of(node.text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

void read_one(const YamlNode& node, TokenWords& out) {
  if (is_number(node)) {
    out.items.emplace_back(read_whole(node, {}, 0, 1 << 20));
  } else {
    out.items.emplace_back(read_words(node, {}));
  }
}

}  // namespace

std::vector<int64_t> TokenWords::positions(const PromptTokens& prompt, const std::string& where) const {
  std::vector<int64_t> out;
  for (const auto& item : items) {
    if (const auto* position = std::get_if<int64_t>(&item)) {
      if (*position >= prompt.length)
        fail(ErrorCode::usage, where, "token positions below " + std::to_string(prompt.length),
             std::to_string(*position));
      out.push_back(*position);
    } else {
      const std::vector<int64_t> found = prompt.find(std::get<std::string>(item), where);
      out.insert(out.end(), found.begin(), found.end());
    }
  }
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void ParamType<TokenWords>::read(const YamlNode& node, const Limits&, TokenWords& out) {
  out.items.clear();
  if (node.kind != YamlNode::Kind::list) return read_one(node, out);
  if (node.items.empty()) fail_yaml(node, "words or token positions");
  for (const YamlNode& item : node.items) read_one(item, out);
}

void ParamType<TokenWordsOrNone>::read(const YamlNode& node, const Limits& limits, TokenWordsOrNone& out) {
  out.items.clear();
  if (node.kind != YamlNode::Kind::list || !node.items.empty()) ParamType<TokenWords>::read(node, limits, out);
}

YamlNode ParamType<TokenWords>::write(const TokenWords& value) {
  std::vector<YamlNode> items;
  for (const auto& item : value.items) {
    items.push_back(std::holds_alternative<int64_t>(item) ? YamlNode::scalar(std::to_string(std::get<int64_t>(item)))
                                                          : YamlNode::words(std::get<std::string>(item)));
  }
  return items.size() == 1 ? items[0] : YamlNode::list(std::move(items));
}

}  // namespace heddle
