// Types in words to JSON Schema.
#include "io/preset_schema.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "io/preset.h"

namespace heddle {
namespace {

using Schema = nlohmann::ordered_json;

Schema object_of(const std::vector<ParamInfo>& params);

// "a | b | c": a choice of words.
Schema words(std::string_view type) {
  Schema choices = Schema::array();
  for (size_t at = 0; at <= type.size();) {
    const size_t bar = std::min(type.find(" | ", at), type.size());
    choices.push_back(std::string(type.substr(at, bar - at)));
    at = bar + 3;
  }
  return {{"enum", choices}};
}

Schema of_type(std::string_view type, const std::vector<ParamInfo>& inner) {
  constexpr std::string_view or_list = ", or a list", list = "list of ", names = "map of names to ";
  if (type == "true or false") return {{"type", "boolean"}};
  if (type == "whole number") return {{"type", "integer"}};
  if (type == "number") return {{"type", "number"}};
  if (type == "text") return {{"type", "string"}};
  if (type == "map") return object_of(inner);
  if (type.ends_with(or_list)) {
    const Schema one = of_type(type.substr(0, type.size() - or_list.size()), inner);
    return {{"anyOf", {one, {{"type", "array"}, {"items", one}}}}};
  }
  if (type.starts_with(names))
    return {{"type", "object"}, {"additionalProperties", of_type(type.substr(names.size()), inner)}};
  if (type.starts_with(list)) {
    type.remove_prefix(list.size());
    const size_t colon = type.find(": ");
    if (colon == std::string_view::npos || type.find_first_not_of("0123456789") != colon)
      return {{"type", "array"}, {"items", of_type(type, inner)}};
    const int count = std::stoi(std::string(type.substr(0, colon)));
    return {
        {"type", "array"}, {"items", of_type(type.substr(colon + 2), inner)}, {"minItems", count}, {"maxItems", count}};
  }
  if (type.find(" | ") != std::string_view::npos) return words(type);
  // Sizes such as 4GiB, words or token positions, gates, masks: what their names say they may be.
  const Schema scalar{{"type", {"string", "number"}}}, row{{"type", "array"}, {"items", scalar}};
  const bool has_rows = type.find("rows of") != std::string_view::npos;
  Schema choices = Schema::array({scalar, has_rows ? Schema{{"type", "array"}, {"items", row}} : row});
  if (type.find("a map of") != std::string_view::npos) choices.push_back({{"type", "object"}});
  return {{"anyOf", choices}};
}

Schema of_param(const ParamInfo& param) {
  Schema schema = of_type(param.type, param.inner);
  schema["description"] =
      param.help + (param.limits.empty() || param.limits == param.type ? "" : " (" + param.limits + ")");
  if (!param.initial.empty()) schema["default"] = Schema::parse(param.initial);
  return schema;
}

Schema object_of(const std::vector<ParamInfo>& params) {
  Schema properties = Schema::object(), required = Schema::array();
  for (const ParamInfo& param : params) {
    properties[param.name] = of_param(param);
    if (param.required) required.push_back(param.name);
  }
  Schema schema{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = required;
  return schema;
}

}  // namespace

std::string preset_schema(const std::vector<std::pair<std::string, std::vector<ParamInfo>>>& methods) {
  Schema schema = object_of(Preset::params().describe());
  Schema choices = Schema::array();
  for (const auto& [name, params] : methods) {
    Schema properties = Schema::object();
    properties[name] = object_of(params);
    choices.push_back(
        {{"type", "object"}, {"properties", properties}, {"required", {name}}, {"additionalProperties", false}});
  }
  schema["properties"]["attention"]["items"] = {{"oneOf", choices}};
  Schema out{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "heddle preset"}};
  out.update(schema);
  return out.dump(1);
}

}  // namespace heddle
