// How a value of each C++ type is read from YAML, written back and named in help.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <type_traits>

#include "io/limits.h"
#include "io/yaml.h"

namespace heddle {

struct ParamInfo;

// Each: name(), inner(), read(node, limits, out), write(value).
template <typename V>
struct ParamType;

bool read_bool(const YamlNode& node);
int64_t read_whole(const YamlNode& node, const Limits& limits, int64_t lowest, int64_t highest);
double read_number(const YamlNode& node, const Limits& limits);
std::string read_words(const YamlNode& node, const Limits& limits);
int64_t read_bytes(const YamlNode& node);
std::string number_text(double value);  // the shortest that reads back the same
std::string number_text(float value);

template <typename E>
concept Enumeration = std::is_enum_v<E>;

struct PlainParam {
  static std::vector<ParamInfo> inner();  // none
};

template <>
struct ParamType<bool> : PlainParam {
  static std::string name() { return "true or false"; }
  static void read(const YamlNode& node, const Limits&, bool& out) { out = read_bool(node); }
  static YamlNode write(bool value) { return YamlNode::scalar(value ? "true" : "false"); }
};

template <std::integral V>
struct ParamType<V> : PlainParam {
  static std::string name() { return "whole number"; }
  static void read(const YamlNode& node, const Limits& limits, V& out) {
    out = static_cast<V>(read_whole(node, limits, std::numeric_limits<V>::min(), std::numeric_limits<V>::max()));
  }
  static YamlNode write(V value) { return YamlNode::scalar(std::to_string(value)); }
};

template <std::floating_point V>
struct ParamType<V> : PlainParam {
  static std::string name() { return "number"; }
  static void read(const YamlNode& node, const Limits& limits, V& out) {
    out = static_cast<V>(read_number(node, limits));
  }
  static YamlNode write(V value) { return YamlNode::scalar(number_text(value)); }
};

template <>
struct ParamType<std::string> : PlainParam {
  static std::string name() { return "text"; }
  static void read(const YamlNode& node, const Limits& limits, std::string& out) { out = read_words(node, limits); }
  static YamlNode write(const std::string& value) { return YamlNode::words(value); }
};

template <>
struct ParamType<ByteCount> : PlainParam {
  static std::string name() { return "bytes, or a size such as 4GiB"; }
  static void read(const YamlNode& node, const Limits&, ByteCount& out) { out.bytes = read_bytes(node); }
  static YamlNode write(ByteCount value) { return YamlNode::scalar(std::to_string(value.bytes)); }
};

}  // namespace heddle

#include "io/param_lists.h"  // IWYU pragma: keep
