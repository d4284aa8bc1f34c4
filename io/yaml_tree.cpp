// Trees of YAML: made, changed by `--set`, turned into JSON and back.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/yaml.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

using nlohmann::ordered_json;

std::string short_text(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::none:
      return "nothing";
    case YamlNode::Kind::scalar:
      return "\"" + node.text.substr(0, 60) + (node.text.size() > 60 ? "...\"" : "\"");
    case YamlNode::Kind::list:
      return "a list of " + std::to_string(node.items.size());
    case YamlNode::Kind::map:
      return "a map";
  }
  return {};
}

YamlNode* find_in_list(YamlNode& list, const std::string& part) {
  const bool is_index = !part.empty() && part.size() < 6 && part.find_first_not_of("0123456789") == part.npos;
  if (is_index && std::stoul(part) < list.items.size()) return &list.items[std::stoul(part)];
  for (YamlNode& item : list.items) {
    if (item.find(part) != nullptr) return const_cast<YamlNode*>(item.find(part));
  }
  return nullptr;
}

// The place that `part` names below `node`; a map gains it where it has none.
YamlNode& step_into(YamlNode& node, const std::string& part, const std::string& where) {
  if (node.kind == YamlNode::Kind::list) {
    YamlNode* item = find_in_list(node, part);
    if (item == nullptr) fail(ErrorCode::usage, where, "an index or a name of the list", "\"" + part + "\"");
    return *item;
  }
  if (node.kind == YamlNode::Kind::scalar)
    fail(ErrorCode::usage, where, "keys inside a map", "\"" + part + "\" inside " + short_text(node));
  if (node.find(part) == nullptr) {
    node.kind = YamlNode::Kind::map;
    node.entries.push_back({part, where, {}});
    node.entries.back().value.where = where;
  }
  return *const_cast<YamlNode*>(node.find(part));
}

YamlNode value_of(std::string_view text, const std::string& where) {
  if (text == "null") return {};
  if (text.empty()) return YamlNode::words("");
  if (std::string_view("[{\"'").find(text[0]) != std::string_view::npos) return parse_yaml(text, where);
  return YamlNode::scalar(std::string(text));
}

void mark_origin(YamlNode& node, const std::string& where) {
  node.where = where;
  for (YamlNode& item : node.items) mark_origin(item, where);
  for (YamlEntry& entry : node.entries) {
    entry.where = where;
    mark_origin(entry.value, where);
  }
}

// An unquoted scalar is a number or a truth value where it reads as one, else text.
ordered_json plain_to_json(const std::string& text) {
  ordered_json value = ordered_json::parse(text, nullptr, false);
  if (value.is_number() || value.is_boolean()) return value;
  double number = 0;  // forms that YAML has and JSON has not, such as .5
  const char* end = text.data() + text.size();
  const auto [reached, fault] = std::from_chars(text.data(), end, number);
  const bool whole = fault == std::errc() && reached == end && std::isfinite(number);
  return whole ? ordered_json(number) : ordered_json(text);
}

ordered_json to_json(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::none:
      return nullptr;
    case YamlNode::Kind::list: {
      ordered_json list = ordered_json::array();
      for (const YamlNode& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case YamlNode::Kind::map: {
      ordered_json map = ordered_json::object();
      for (const YamlEntry& entry : node.entries) map[entry.key] = to_json(entry.value);
      return map;
    }
    case YamlNode::Kind::scalar:
      break;
  }
  return node.quoted ? ordered_json(node.text) : plain_to_json(node.text);
}

YamlNode from_json(const ordered_json& value, const std::string& where) {
  YamlNode node;
  node.where = where;
  if (value.is_object()) {
    node.kind = YamlNode::Kind::map;
    for (const auto& [key, inner] : value.items()) {
      const std::string place = where + " " + key;
      node.entries.push_back({key, place, from_json(inner, place)});
    }
  } else if (value.is_array()) {
    node.kind = YamlNode::Kind::list;
    for (const auto& item : value) node.items.push_back(from_json(item, where));
  } else if (!value.is_null()) {
    node.kind = YamlNode::Kind::scalar;
    node.quoted = value.is_string();
    node.text = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return node;
}

}  // namespace

YamlNode YamlNode::scalar(std::string text) {
  YamlNode node;
  node.kind = Kind::scalar;
  node.text = std::move(text);
  return node;
}

YamlNode YamlNode::words(std::string text) {
  YamlNode node = scalar(std::move(text));
  node.quoted = true;
  return node;
}

YamlNode YamlNode::list(std::vector<YamlNode> items) {
  YamlNode node;
  node.kind = Kind::list;
  node.items = std::move(items);
  return node;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const YamlEntry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &found->value;
}

void YamlNode::add(std::string key, YamlNode value) {
  kind = Kind::map;
  entries.push_back({std::move(key), value.where, std::move(value)});
}

void set_yaml(YamlNode& root, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  const std::string path(assignment.substr(0, equals));
  const std::string where = "--set " + path.substr(0, 200);
  if (equals == assignment.npos || path.empty())
    fail(ErrorCode::usage, "--set", "key=value", "\"" + std::string(assignment) + "\"");
  const std::string_view text = assignment.substr(equals + 1);
  YamlNode* node = &root;
  size_t begin = 0;
  for (int depth = 0; begin <= path.size(); ++depth) {
    const size_t dot = std::min(path.find('.', begin), path.size());
    if (dot == begin || depth == 16)
      fail(ErrorCode::usage, where, "a path of keys such as sampler.steps", "\"" + path + "\"");
    node = &step_into(*node, path.substr(begin, dot - begin), where);
    begin = dot + 1;
  }
  *node = value_of(text, where);
  mark_origin(*node, where);
}

std::string yaml_to_json(const YamlNode& node) {
  return to_json(node).dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

YamlNode yaml_from_json(std::string_view text, const std::string& where) {
  Json::parse(text, where);  // its bounds hold for the second reading, which keeps the order of keys
  const ordered_json value = ordered_json::parse(text, nullptr, false);
  if (value.is_discarded()) fail(ErrorCode::input, where, "JSON of finite numbers", "others");
  return from_json(value, where);
}

void fail_yaml(const YamlNode& node, std::string_view wanted, std::string_view hint) {
  fail(ErrorCode::usage, node.where, wanted, short_text(node), hint);
}

}  // namespace heddle
