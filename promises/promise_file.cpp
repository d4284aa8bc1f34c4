// Promises as files: reading, checking, finding.
#include <algorithm>
#include <filesystem>

#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "pipelines/shelves.h"
#include "promises/promise.h"

namespace heddle {

template <>
struct ParamType<YamlNode> : PlainParam {
  static std::string name() { return "part of a preset"; }
  static void read(const YamlNode& node, const Limits&, YamlNode& out) {
    if (node.kind != YamlNode::Kind::map) fail_yaml(node, "keys of a preset");
    out = node;
  }
  static YamlNode write(const YamlNode& value) { return value; }
};

Params<Bar> Bar::params() {
  return {need("metric", &Bar::metric, "which metric"),
          opt("group", &Bar::group, "which group; every one if not given"),
          opt("at_least", &Bar::at_least, "of the method, or of plain runs where there is none"),
          opt("at_most", &Bar::at_most, "the same, from above"),
          opt("gain", &Bar::gain, "method minus plain, at least"),
          opt("loss", &Bar::loss, "plain minus method, at most"),
          opt("ratio", &Bar::ratio, "method over plain, at most")};
}

Params<PromiseSpec> PromiseSpec::params() {
  using P = PromiseSpec;
  return {need("says", &P::says, "the promise in a sentence"),
          opt("world", &P::world, "the world's file, without .yaml, beside this one"),
          opt("judge", &P::judge, "the detector's folder, or the name of one that ships"),
          need("groups", &P::groups, "groups of cases"),
          need("preset", &P::preset, "the preset of both runs, with $words"),
          opt("source", &P::source, "laid over it for a picture that both runs may begin from: $source"),
          opt("plain", &P::plain, "laid over it for the plain run"),
          opt("method", &P::method, "laid over it for the method's; none measures plain sampling alone"),
          need("metrics", &P::metrics, "what is measured; the first sorts wins from failures"),
          opt("bars", &P::bars, "what has to be reached"),
          opt("time_ratio", &P::time_ratio, "of the steps, method over plain, at most")};
}

PromiseSpec PromiseSpec::read(const std::string& path) {
  YamlNode root = read_yaml(path);
  if (root.where.empty()) root.where = path;
  auto spec = read_params<PromiseSpec>(root);
  spec.name = std::filesystem::path(path).stem().string();
  if (spec.groups.empty()) fail(ErrorCode::usage, path + " groups", "at least one group", "none");
  if (spec.metrics.empty()) fail(ErrorCode::usage, path + " metrics", "at least one metric", "none");
  for (const std::string& metric : spec.metrics) metric_named(metric, path + " metrics");
  for (const Bar& bar : spec.bars) {
    const std::string where = path + " bars";
    if (std::ranges::find(spec.metrics, bar.metric) == spec.metrics.end())
      fail(ErrorCode::usage, where, "a metric that is measured", "\"" + bar.metric + "\"",
           nearest_word(bar.metric, spec.metrics));
    const bool known =
        bar.group.empty() || std::ranges::any_of(spec.groups, [&](const CaseGroup& g) { return g.name == bar.group; });
    if (!known) fail(ErrorCode::usage, where, "a group of this file", "\"" + bar.group + "\"");
    const int limits = bar.at_least.has_value() + bar.at_most.has_value() + bar.gain.has_value() +
                       bar.loss.has_value() + bar.ratio.has_value();
    if (limits != 1)
      fail(ErrorCode::usage, where, "one of at_least, at_most, gain, loss, ratio", std::to_string(limits) + " of them");
    if (!spec.method && (bar.gain || bar.loss || bar.ratio))
      fail(ErrorCode::usage, where, "at_least or at_most where there is no method", "another limit");
  }
  return spec;
}

namespace {
constexpr const char* shelf = "presets/promises";
}

std::vector<std::string> promise_names() {
  std::vector<std::string> names = data_names(shelf);
  std::erase_if(names, [](const std::string& name) { return name.ends_with("-world"); });
  return names;
}

std::string find_promise(const std::string& name) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(name, ignored)) return name;
  const std::string found = find_data(shelf, name);
  if (!found.empty()) return found;
  const std::vector<std::string> known = promise_names();
  fail(ErrorCode::usage, "promise", "a promise (" + one_of(known).text() + ") or a file", "\"" + name + "\"",
       nearest_word(name, known));
}

}  // namespace heddle
