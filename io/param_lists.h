// Parameters made of others: words of an enumeration, optionals, lists. Included by io/param_types.h only.
#pragma once

namespace heddle {

template <Enumeration E>
struct ParamType<E> : PlainParam {
  static Limits choices() { return one_of({ParamWords<E>::words.begin(), ParamWords<E>::words.end()}); }
  static std::string name() { return choices().text(); }
  static void read(const YamlNode& node, const Limits&, E& out) {
    const std::string word = read_words(node, choices());
    out = static_cast<E>(std::ranges::find(ParamWords<E>::words, word) - ParamWords<E>::words.begin());
  }
  static YamlNode write(E value) {
    return YamlNode::words(std::string(ParamWords<E>::words[static_cast<size_t>(value)]));
  }
};

template <typename V>
struct ParamType<std::optional<V>> {
  static std::string name() { return ParamType<V>::name(); }
  static std::vector<ParamInfo> inner() { return ParamType<V>::inner(); }
  static void read(const YamlNode& node, const Limits& limits, std::optional<V>& out) {
    ParamType<V>::read(node, limits, out.emplace());
  }
  static YamlNode write(const std::optional<V>& value) { return value ? ParamType<V>::write(*value) : YamlNode{}; }
};

template <typename V>
struct ParamType<std::vector<V>> {
  static std::string name() { return "list of " + ParamType<V>::name(); }
  static std::vector<ParamInfo> inner() { return ParamType<V>::inner(); }
  static void read(const YamlNode& node, const Limits& limits, std::vector<V>& out) {
    if (node.kind != YamlNode::Kind::list) fail_yaml(node, "a list");
    out.clear();
    for (const YamlNode& item : node.items) {
      V value{};
      ParamType<V>::read(item, limits, value);
      out.push_back(std::move(value));
    }
  }
  static YamlNode write(const std::vector<V>& values) {
    std::vector<YamlNode> items;
    for (const V& value : values) items.push_back(ParamType<V>::write(value));
    return YamlNode::list(std::move(items));
  }
};

template <typename V, size_t N>
struct ParamType<std::array<V, N>> : PlainParam {
  static std::string name() { return "list of " + std::to_string(N) + ": " + ParamType<V>::name(); }
  static void read(const YamlNode& node, const Limits& limits, std::array<V, N>& out) {
    if (node.items.size() != N) fail_yaml(node, "a list of " + std::to_string(N));
    for (size_t i = 0; i < N; ++i) ParamType<V>::read(node.items[i], limits, out[i]);
  }
  static YamlNode write(const std::array<V, N>& values) {
    return ParamType<std::vector<V>>::write(std::vector<V>(values.begin(), values.end()));
  }
};

// One value is written back as itself, so that a preset reads as its author wrote it. An empty list counts as not
// given.
template <typename V>
struct ParamType<OneOrMany<V>> : PlainParam {
  static std::string name() { return ParamType<V>::name() + ", or a list"; }
  static void read(const YamlNode& node, const Limits& limits, OneOrMany<V>& out) {
    if (node.kind == YamlNode::Kind::list) {
      ParamType<std::vector<V>>::read(node, limits, out.values);
    } else {
      ParamType<V>::read(node, limits, out.values.emplace_back());
    }
  }
  static YamlNode write(const OneOrMany<V>& value) {
    if (value.values.empty()) return {};
    return value.values.size() == 1 ? ParamType<V>::write(value.values[0])
                                    : ParamType<std::vector<V>>::write(value.values);
  }
};

// A map whose keys are the writer's own words, in the order written.
template <typename V>
struct ParamType<Named<V>> : PlainParam {
  static std::string name() { return "map of names to " + ParamType<V>::name(); }
  static void read(const YamlNode& node, const Limits& limits, Named<V>& out) {
    if (node.kind != YamlNode::Kind::map) fail_yaml(node, "a map");
    out.entries.clear();
    for (const YamlEntry& entry : node.entries) {
      V value{};
      ParamType<V>::read(entry.value, limits, value);
      out.entries.emplace_back(entry.key, std::move(value));
    }
  }
  static YamlNode write(const Named<V>& value) {
    YamlNode map;
    map.kind = value.entries.empty() ? YamlNode::Kind::none : YamlNode::Kind::map;
    for (const auto& [key, entry] : value.entries) map.add(key, ParamType<V>::write(entry));
    return map;
  }
};

}  // namespace heddle
