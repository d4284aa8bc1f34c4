// JSON by nlohmann-json, whose parser does not recurse; its depth and keys are checked while it runs.
#include "io/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "io/file.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

using nlohmann::json;
constexpr int deepest = 64;

// Python's json module writes numbers that JSON does not have (lambda_min_clipped: -Infinity). They become strings,
// which as<double>() turns back.
std::string quote_non_finite(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\' && i + 1 < text.size()) {
      out += text[i++];
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string && (text[i] == 'N' || text[i] == 'I' || text[i] == '-')) {
      for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
        if (text.substr(i, word.size()) != word) continue;
        out.append("\"").append(word).append("\"");
        i += word.size();
        break;
      }
      if (i >= text.size()) break;
    }
    out += text[i];
  }
  return out;
}

double non_finite(const std::string& text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return 0;
}

std::string short_text(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  return value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 80);
}

struct Watch {  // called for each token: bounds the depth, refuses a key given twice
  const std::string& where;
  std::vector<std::unordered_set<std::string>> keys;

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > deepest) fail(ErrorCode::input, where, "at most 64 levels of JSON", "more");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      fail(ErrorCode::input, where, "each key once", "\"" + parsed.get<std::string>() + "\" twice");
    }
    return true;
  }
};

}  // namespace

Json Json::parse(std::string_view text, const std::string& where) {
  std::string quoted;
  if (text.find("NaN") != text.npos || text.find("Infinity") != text.npos) {
    quoted = quote_non_finite(text);
    text = quoted;
  }
  try {
    auto watch = std::make_shared<Watch>(Watch{where, {}});
    auto document = std::make_shared<json>(json::parse(
        text, [watch](int depth, json::parse_event_t event, json& parsed) { return (*watch)(depth, event, parsed); }));
    return Json(std::move(document), where);
  } catch (const json::exception& e) {
    const std::string_view what = e.what();
    const size_t colon = what.find("parse error");
    fail(ErrorCode::input, where, "JSON", colon == what.npos ? what : what.substr(colon));
  }
}

Json Json::read(const std::string& path, int64_t limit) {
  return parse(read_file(path, limit), path);
}

bool Json::is_object() const {
  return node_->is_object();
}
bool Json::is_array() const {
  return node_->is_array();
}
bool Json::has(std::string_view key) const {
  if (!is_object()) fail_type("an object");
  const auto found = node_->find(key);
  return found != node_->end() && !found->is_null();
}

std::vector<std::string> Json::keys() const {
  if (!is_object()) fail_type("an object");
  std::vector<std::string> out;
  for (const auto& [key, value] : node_->items()) out.push_back(key);
  return out;
}

Json Json::required(std::string_view key) const {
  if (!has(key)) fail(ErrorCode::input, where_, "the key \"" + std::string(key) + "\"", "none");
  return Json({node_, &*node_->find(key)}, where_ + " " + std::string(key));
}

Json Json::counted(std::string_view key, size_t count) const {
  const Json value = required(key);
  if (value.is_array() && value.size() != count) value.fail_type("a value or a list of " + std::to_string(count));
  return value;
}

void Json::require_known(std::initializer_list<std::string_view> known) const {
  for (const std::string& key : keys()) {
    if (key.starts_with('_') || std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_word(key, known);
    fail(ErrorCode::input, where_, "keys this engine knows", "\"" + key + "\"", near.empty() ? "" : "\"" + near + "\"");
  }
}

size_t Json::size() const {
  if (!is_array()) fail_type("a list");
  return node_->size();
}

Json Json::operator[](size_t index) const {
  if (index >= size()) fail_type("a list of more than " + std::to_string(index));
  return Json({node_, &(*node_)[index]}, where_ + "[" + std::to_string(index) + "]");
}

void Json::fail_type(std::string_view wanted) const {
  fail(ErrorCode::input, where_, wanted, short_text(*node_));
}

void Json::read(bool& out) const {
  if (!node_->is_boolean()) fail_type("true or false");
  out = node_->get<bool>();
}

void Json::read(int64_t& out) const {
  if (!node_->is_number_integer()) fail_type("a whole number");
  if (node_->is_number_unsigned() && node_->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    fail_type("a whole number below 2^63");
  }
  out = node_->get<int64_t>();
}

void Json::read(int& out) const {
  const auto value = as<int64_t>();
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
    fail_type("a number of 32 bits");
  out = static_cast<int>(value);
}

void Json::read(double& out) const {
  if (node_->is_number()) {
    out = node_->get<double>();
  } else {
    out = node_->is_string() ? non_finite(node_->get_ref<const std::string&>()) : 0;
    if (out == 0) fail_type("a number");
  }
}

void Json::read(std::string& out) const {
  if (!node_->is_string()) fail_type("text");
  out = node_->get<std::string>();
}

}  // namespace heddle
