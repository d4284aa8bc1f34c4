// Scalars read from YAML with their limits, the keys of a map, and the table of help.
#include "io/params.h"

#include <charconv>

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::string quoted(const std::string& text) {
  return '"' + text + '"';
}

bool within(double value, const Limits& limits) {
  return value >= limits.low && value <= limits.high;
}

std::string wanted_number(const std::string& kind, const Limits& limits) {
  const std::string text = limits.text();
  return text.empty() ? kind : kind + ", " + text;
}

// YAML's plus sign, which from_chars does not take.
std::string_view without_plus(const std::string& text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? std::string_view(text).substr(1)
                                                             : std::string_view(text);
}

template <typename N>
bool parse_whole(std::string_view text, N& out) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  return fault == std::errc() && end == text.data() + text.size();
}

bool is_plain(const YamlNode& node) {
  return node.kind == YamlNode::Kind::scalar && !node.quoted;
}

}  // namespace

std::string Limits::text() const {
  if (!words.empty()) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " | ") + word;
    return out;
  }
  const bool has_low = std::isfinite(low), has_high = std::isfinite(high);
  if (has_low && low == high) return number_text(low);
  if (has_low && has_high) return number_text(low) + " to " + number_text(high);
  return has_low ? "at least " + number_text(low) : has_high ? "at most " + number_text(high) : "";
}

std::vector<ParamInfo> PlainParam::inner() {
  return {};
}

std::string number_text(double value) {
  char buffer[32];
  const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
  if (whole) return std::to_string(static_cast<int64_t>(value));
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

std::string number_text(float value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

bool read_bool(const YamlNode& node) {
  if (!is_plain(node) || (node.text != "true" && node.text != "false")) fail_yaml(node, "true or false");
  return node.text == "true";
}

int64_t read_whole(const YamlNode& node, const Limits& limits, int64_t lowest, int64_t highest) {
  int64_t value = 0;
  const bool good =
      is_plain(node) && parse_whole(without_plus(node.text), value) && value >= lowest && value <= highest;
  if (!good || !within(static_cast<double>(value), limits)) fail_yaml(node, wanted_number("a whole number", limits));
  return value;
}

double read_number(const YamlNode& node, const Limits& limits) {
  double value = 0;
  const bool good = is_plain(node) && parse_whole(without_plus(node.text), value) && std::isfinite(value);
  if (!good || !within(value, limits)) fail_yaml(node, wanted_number("a number", limits));
  return value;
}

std::string read_words(const YamlNode& node, const Limits& limits) {
  if (node.kind != YamlNode::Kind::scalar) fail_yaml(node, limits.words.empty() ? "text" : limits.text());
  if (limits.words.empty() || std::ranges::find(limits.words, node.text) != limits.words.end()) return node.text;
  const std::string near = nearest_word(node.text, limits.words);
  fail_yaml(node, limits.text(), near.empty() ? "" : quoted(near));
}

int64_t read_bytes(const YamlNode& node) {
  constexpr struct {
    std::string_view name;
    int64_t size;
  } units[] = {{"", 1},
               {"B", 1},
               {"KiB", 1 << 10},
               {"MiB", 1 << 20},
               {"GiB", 1 << 30},
               {"TiB", int64_t{1} << 40},
               {"KB", 1000},
               {"MB", 1000000},
               {"GB", 1000000000},
               {"TB", 1000000000000}};
  const char* wanted = "a number of bytes, or a size such as 4GiB";
  if (node.kind != YamlNode::Kind::scalar) fail_yaml(node, wanted);
  const size_t digits = std::min(node.text.find_first_not_of("0123456789."), node.text.size());
  const size_t unit_at = std::min(node.text.find_first_not_of(' ', digits), node.text.size());
  double number = 0;
  const bool good = parse_whole(std::string_view(node.text).substr(0, digits), number);
  for (const auto& unit : units) {
    if (node.text.substr(unit_at) != unit.name) continue;
    const double bytes = number * static_cast<double>(unit.size);
    if (!good || bytes > 1e15 || bytes != std::floor(bytes)) break;
    return static_cast<int64_t>(bytes);
  }
  fail_yaml(node, wanted);
}

std::vector<const YamlNode*> match_params(const YamlNode& map, const std::vector<const ParamInfo*>& infos) {
  std::vector<std::string> names;
  for (const ParamInfo* info : infos) names.push_back(info->name);
  std::vector<const YamlNode*> found(infos.size(), nullptr);
  if (map.kind != YamlNode::Kind::map && map.kind != YamlNode::Kind::none) fail_yaml(map, "a map of keys");
  for (const YamlEntry& entry : map.entries) {
    const auto at = static_cast<size_t>(std::ranges::find(names, entry.key) - names.begin());
    if (at == names.size()) {
      const std::string near = nearest_word(entry.key, names);
      fail(ErrorCode::usage, entry.where, "a known key", quoted(entry.key),
           near.empty() ? "one of " + one_of(names).text() : quoted(near));
    }
    if (entry.value.kind != YamlNode::Kind::none) found[at] = &entry.value;
  }
  for (size_t i = 0; i < infos.size(); ++i) {
    if (infos[i]->required && found[i] == nullptr) {
      fail(ErrorCode::usage, map.where, "the key \"" + names[i] + "\" (" + infos[i]->help + ")", "none");
    }
  }
  return found;
}

namespace {

void add_rows(const std::vector<ParamInfo>& infos, const std::string& prefix, std::string& table) {
  for (const ParamInfo& info : infos) {
    const std::string key = prefix + info.name;
    std::string type = info.type == "text" && !info.limits.empty() ? info.limits : info.type;
    if (type != info.limits && !info.limits.empty()) type += ", " + info.limits;
    for (size_t at = 0; (at = type.find(" | ", at)) != type.npos; at += 3) type.replace(at, 3, ", ");
    table.append("| `").append(key).append("` | ").append(type).append(" | ");
    table.append(info.required ? "required" : info.initial).append(" | ").append(info.help).append(" |\n");
    add_rows(info.inner, info.type == "map" ? key + "." : key + "[].", table);
  }
}

}  // namespace

std::string params_table(const std::vector<ParamInfo>& infos) {
  std::string table = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
  add_rows(infos, "", table);
  return table;
}

}  // namespace heddle
