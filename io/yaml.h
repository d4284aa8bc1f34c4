// YAML read into a small tree that remembers where each value stood. Made for files of strangers: at most 1 MiB, 64
// levels and 20000 values; no aliases, no tags, no key twice. Contents at fault are Error(usage) "[preset.yaml:12
// sampler.steps]".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

struct YamlEntry;

struct YamlNode {
  enum class Kind : uint8_t { none, scalar, list, map };

  Kind kind = Kind::none;
  bool quoted = false;             // a scalar that can only be text
  std::string text;                // of a scalar
  std::string where;               // file, line and key path, for errors
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map, in the order written

  static YamlNode scalar(std::string text);  // a number, true or false
  static YamlNode words(std::string text);   // text
  static YamlNode list(std::vector<YamlNode> items);

  const YamlNode* find(std::string_view key) const;  // null where a map has no such key, or where this is no map
  void add(std::string key, YamlNode value);         // makes this a map
};

struct YamlEntry {
  std::string key;
  std::string where;
  YamlNode value;
};

YamlNode parse_yaml(std::string_view text, const std::string& file);
YamlNode read_yaml(const std::string& path);

// "sampler.steps=10" over the tree, as `--set` does. A part of the path that meets a list is an index or the key of one
// of its one-key maps. A value that begins with [ { " or ' is YAML, "null" takes the key away, anything else is itself.
void set_yaml(YamlNode& root, std::string_view assignment);

// One line of JSON, and back. Objects keep their order.
std::string yaml_to_json(const YamlNode& node);
YamlNode yaml_from_json(std::string_view text, const std::string& where);

// The error of a value of the wrong kind: shows a short form of what the node holds.
[[noreturn]] void fail_yaml(const YamlNode& node, std::string_view wanted, std::string_view hint = {});

}  // namespace heddle
