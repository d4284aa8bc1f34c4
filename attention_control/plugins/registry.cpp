// The list of methods, and methods made from presets.
#include "attention_control/plugins/registry.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::vector<MethodInfo>& all() {
  static std::vector<MethodInfo> list;
  return list;
}

ParamInfo over_info() {
  return {"over", "text", "", "", "a method of this preset whose exclusive claims give way where both would hold",
          false,  {}};
}

// The settings without the keys that every method has.
YamlNode own_keys(const YamlNode& settings, std::string* over) {
  YamlNode own = settings;
  if (own.kind == YamlNode::Kind::none || (own.kind == YamlNode::Kind::scalar && own.text.empty())) {
    own.kind = YamlNode::Kind::map;  // `- tgate:` alone asks for the defaults
    return own;
  }
  const auto found = std::ranges::find_if(own.entries, [](const YamlEntry& e) { return e.key == "over"; });
  if (found == own.entries.end()) return own;
  if (over != nullptr) *over = read_words(found->value, {});
  own.entries.erase(found);
  return own;
}

}  // namespace

const std::vector<MethodInfo>& methods() {
  return all();
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodInfo& info : all()) names.push_back(info.name);
  return names;
}

const MethodInfo& method_named(const std::string& name, const std::string& where) {
  for (const MethodInfo& info : all()) {
    if (info.name == name) return info;
  }
  const std::vector<std::string> names = method_names();
  fail(ErrorCode::usage, where, "a method (" + one_of(names).text() + ")", "\"" + name + "\"",
       nearest_word(name, names));
}

AskedMethod make_method(const std::string& name, const YamlNode& settings) {
  const MethodInfo& info = method_named(name, settings.where);
  AskedMethod asked{.name = name, .where = settings.where, .over = {}, .method = nullptr};
  asked.method = info.make(own_keys(settings, &asked.over));
  return asked;
}

bool register_method(MethodInfo info) {
  const auto own_params = info.params;
  info.params = [own_params] {
    std::vector<ParamInfo> params = own_params();
    params.push_back(over_info());
    return params;
  };
  const auto own_resolved = info.resolved;
  info.resolved = [own_resolved](const YamlNode& settings) { return own_resolved(own_keys(settings, nullptr)); };
  const auto at = std::ranges::upper_bound(all(), info.name, {}, &MethodInfo::name);
  all().insert(at, std::move(info));
  return true;
}

}  // namespace heddle
