// What a promise is measured by. A new metric is one small function and one line in the table of metrics.cpp.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "judge/judge.h"
#include "promises/cases.h"

namespace heddle {

struct JudgedPicture {
  Image image;
  SeenPicture verdict;
};

// What one run made.
struct Outcome {
  std::vector<JudgedPicture> pictures;
  std::vector<std::string> members;  // "source", "target" ... where a method brought the prompts; one picture each
  double seconds = 0;                // of its steps

  // The picture that the run was asked for: the target of an editing method, else the first.
  const JudgedPicture& result() const;
  const JudgedPicture* member(const std::string& name) const;  // null where there is none
};

// The same case without and with the method. A promise about plain sampling has `plain` alone.
struct Pair {
  Case wanted;
  std::optional<Outcome> source;  // where the promise has one picture that both runs may begin from
  Outcome plain;
  std::optional<Outcome> method;

  // The picture that an edit began from: the promise's, else the method's own; null for none.
  const JudgedPicture* begun_from() const;
};

enum class MetricKind : uint8_t {
  rate,    // each value is 0 or 1
  amount,  // means of numbers
};

struct Metric {
  std::string name;
  MetricKind kind = MetricKind::rate;
  bool more_is_better = true;
  std::string sentence;  // for the report's legend
  // Of `outcome`, which is the pair's plain one or its method's; nothing where the question does not arise.
  std::function<std::optional<double>(const Pair& pair, const Outcome& outcome)> of;
};

const std::vector<Metric>& metrics();
// Error(usage) naming the nearest.
const Metric& metric_named(const std::string& name, const std::string& where);

}  // namespace heddle
