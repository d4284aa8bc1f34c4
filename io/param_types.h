// How a value of each C++ type is read from YAML, written back and named in help.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "io/yaml.h"

namespace heddle {

struct ParamInfo;

// What a number, or each number of a list, may be; or which words a text may be.
struct Limits {
  double low = -INFINITY, high = INFINITY;
  std::vector<std::string> words;
  std::string text() const;  // "0 to 10", "at least 1", "ddim | euler"; empty for none
};
inline Limits range(double low, double high) {
  return {low, high, {}};
}
inline Limits at_least(double low) {
  return {low, INFINITY, {}};
}
inline Limits one_of(std::vector<std::string> words) {
  return {-INFINITY, INFINITY, std::move(words)};
}

// An enum class is a parameter where its words are given: template <> struct ParamWords<Rng> { static constexpr
// std::array words{"torch-cpu", "torch-cuda"}; }; in the order of its enumerators.
template <typename E>
struct ParamWords;

// One value or a list of them.
template <typename V>
struct OneOrMany {
  std::vector<V> values;
};

// A number of bytes, written as a whole number or with a unit: 4GiB, 512 MiB, 2GB.
struct ByteCount {
  int64_t bytes = 0;
};

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
