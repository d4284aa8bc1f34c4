// A result as JSON and back. Values are kept as text, one list a metric: "1,0,,1", empty where a question did not
// arise.
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "kernels/core/error.h"
#include "promises/report.h"

namespace heddle {
namespace {

using Out = nlohmann::ordered_json;

std::string list_text(const std::vector<double>& values) {
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) {
    char number[32] = "";
    if (!std::isnan(values[i])) std::snprintf(number, sizeof(number), "%.5g", values[i]);
    text += (i > 0 ? "," : "") + std::string(number);
  }
  return text;
}

std::vector<double> list_of(const Json& json, const char* key) {
  const auto text = json.get<std::string>(key);
  std::vector<double> out;
  if (text.empty()) return out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string number = text.substr(at, end - at);
    char* stop = nullptr;
    out.push_back(number.empty() ? NAN : std::strtod(number.c_str(), &stop));
    if (!number.empty() && *stop != '\0')
      fail(ErrorCode::input, json.where() + " " + key, "numbers and commas", "\"" + number + "\"");
    at = end + 1;
  }
  return out;
}

Out json_of(const Bar& bar) {
  Out out{{"metric", bar.metric}, {"group", bar.group}};
  const auto add = [&](const char* key, const std::optional<double>& value) {
    if (value) out[key] = *value;
  };
  add("at_least", bar.at_least), add("at_most", bar.at_most), add("gain", bar.gain), add("loss", bar.loss);
  add("ratio", bar.ratio);
  return out;
}

// A metric has a value for each pair, of which there is at least one: no text is one question that did not arise.
std::vector<double> values_of(const Json& json, const char* key) {
  std::vector<double> out = list_of(json, key);
  if (out.empty()) out.push_back(NAN);
  return out;
}

std::optional<double> maybe(const Json& json, const char* key) {
  return json.has(key) ? std::optional(json.get<double>(key)) : std::nullopt;
}

}  // namespace

std::string promise_to_json(const PromiseResult& r) {
  Out groups = Out::array();
  for (const GroupResult& g : r.groups) {
    Out metrics = Out::array();
    for (const MetricResult& m : g.metrics)
      metrics.push_back({{"metric", m.metric}, {"plain", list_text(m.plain)}, {"method", list_text(m.method)}});
    groups.push_back({{"name", g.name},
                      {"prompts", g.prompts},
                      {"metrics", metrics},
                      {"plain_seconds", list_text(g.plain_seconds)},
                      {"method_seconds", list_text(g.method_seconds)},
                      {"judge_seconds", g.judge_seconds}});
  }
  Out bars = Out::array();
  for (const Bar& bar : r.bars) bars.push_back(json_of(bar));
  Out out{{"name", r.name},         {"says", r.says},         {"model", r.model},
          {"settings", r.settings}, {"method", r.has_method}, {"steps", r.steps},
          {"guidance", r.guidance}, {"groups", groups},       {"bars", bars}};
  if (r.time_ratio) out["time_ratio"] = *r.time_ratio;
  return out.dump(1) + "\n";
}

PromiseResult promise_from_json(const std::string& path) {
  const Json json = Json::read(path);
  PromiseResult r{.name = json.get<std::string>("name"),
                  .says = json.get<std::string>("says"),
                  .model = json.get<std::string>("model"),
                  .settings = json.get<std::string>("settings")};
  r.has_method = json.get<bool>("method");
  r.steps = json.get<int>("steps");
  r.guidance = json.get<double>("guidance");
  r.time_ratio = maybe(json, "time_ratio");
  for (const Json& g : json.get<std::vector<Json>>("groups")) {
    GroupResult group{.name = g.get<std::string>("name"), .prompts = g.get<std::vector<std::string>>("prompts")};
    for (const Json& m : g.get<std::vector<Json>>("metrics")) {
      group.metrics.push_back({metric_named(m.get<std::string>("metric"), m.where()).name, values_of(m, "plain"),
                               r.has_method ? values_of(m, "method") : std::vector<double>()});
      if (r.has_method && group.metrics.back().plain.size() != group.metrics.back().method.size())
        fail(ErrorCode::input, m.where(), "as many values with the method as without", "another number");
    }
    group.plain_seconds = list_of(g, "plain_seconds");
    group.method_seconds = list_of(g, "method_seconds");
    group.judge_seconds = g.get<double>("judge_seconds");
    r.groups.push_back(std::move(group));
  }
  if (r.groups.empty()) fail(ErrorCode::input, json.where() + " groups", "at least one group", "none");
  for (const Json& b : json.get<std::vector<Json>>("bars")) {
    r.bars.push_back({b.get<std::string>("metric"), b.get<std::string>("group"), maybe(b, "at_least"),
                      maybe(b, "at_most"), maybe(b, "gain"), maybe(b, "loss"), maybe(b, "ratio")});
  }
  return r;
}

}  // namespace heddle
