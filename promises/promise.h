// A promise: what a method says it does, measured on pairs of runs with and without it, same prompts and seeds, judged
// by a detector. Promises are data: presets/promises/NAME.yaml.
#pragma once

#include <memory>

#include "promises/metrics.h"
#include "promises/statistics.h"

namespace heddle {

// What a metric has to reach; exactly one of the limits.
struct Bar {
  std::string metric, group;       // group empty: every group
  std::optional<double> at_least;  // of the method (of plain runs where there is no method)
  std::optional<double> at_most;   // the same
  std::optional<double> gain;      // method minus plain, at least
  std::optional<double> loss;      // plain minus method, at most
  std::optional<double> ratio;     // method over plain, at most
  static Params<Bar> params();
};

struct PromiseSpec {
  std::string name;  // the file's
  std::string says;  // one sentence
  std::string world = "emoji-world", judge = "emoji-judge";
  std::vector<CaseGroup> groups;
  YamlNode preset;                   // of both runs, with $words
  std::optional<YamlNode> source;    // laid over it for a picture that both runs may begin from: $source
  std::optional<YamlNode> plain;     // laid over it for the plain run
  std::optional<YamlNode> method;    // laid over it for the method's; a promise about plain sampling has none
  std::vector<std::string> metrics;  // the first sorts pairs into wins and failures
  std::vector<Bar> bars;
  std::optional<double> time_ratio;  // at most

  static Params<PromiseSpec> params();
  // Error(usage) or Error(input).
  static PromiseSpec read(const std::string& path);
};

// The files that $source and $mask stand for.
struct SourceFiles {
  std::string picture;
  std::string mask;  // white where the judge sees objects in it, a latent cell of 8 pixels further on each side
};

// The preset of one run of a case: `over` laid over the spec's, map by map, and words replaced. `source`: of a spec
// that has one. Error(usage) for a word that the case does not have.
YamlNode case_preset(const PromiseSpec& spec, const std::optional<YamlNode>& over, const Case& wanted,
                     const std::optional<SourceFiles>& source);

// The names of the promises that ship, and the file of one; `name` may be a path.
std::vector<std::string> promise_names();
std::string find_promise(const std::string& name);

// A metric over a group. Values stand in the order of the pairs; NaN where the question did not arise.
struct MetricResult {
  std::string metric;
  std::vector<double> plain, method;
};

struct GroupResult {
  std::string name;
  std::vector<std::string> prompts;
  std::vector<MetricResult> metrics;
  std::vector<double> plain_seconds, method_seconds;  // of the steps of each run
  double judge_seconds = 0;
};

struct PromiseResult {
  std::string name, says, model, settings;  // settings: the method's entries as one line
  bool has_method = false;
  int steps = 0;
  double guidance = 0;
  std::vector<GroupResult> groups;
  std::vector<Bar> bars;
  std::optional<double> time_ratio;
};

struct PromiseEvents {
  std::function<void(const Pair& pair, int done, int total)> on_pair;  // as each is finished
  std::function<bool()> cancelled;
};

struct PromiseOptions {
  std::optional<int> pairs;  // of each group, instead of the file's
  int threads = 0;
};

// Error as the parts say; Error(cancelled).
PromiseResult measure_promise(const PromiseSpec& spec, const std::string& path, const PromiseOptions& options,
                              const PromiseEvents& events);

}  // namespace heddle
