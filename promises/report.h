// What promises came to: kept as JSON, told as one page of tables and plots.
#pragma once

#include "promises/contact_sheet.h"
#include "promises/promise.h"

namespace heddle {

// One metric over one group. Rates have Wilson intervals; amounts and differences are resampled.
struct Summary {
  const Metric* metric = nullptr;
  int64_t pairs = 0;  // where the question arose (in both runs, where there are two)
  Interval plain, method, difference, ratio;
  int64_t wins = 0, losses = 0;  // pairs in which the method is better, worse
  double p = 1;                  // of a paired test that the difference is chance
};
Summary summarise(const MetricResult& result, bool has_method);

struct BarVerdict {
  std::string text;  // ">= 0.85: 0.91"
  bool met = false;
};
BarVerdict judge_bar(const Bar& bar, const Summary& summary, bool has_method);

std::string promise_to_json(const PromiseResult& result);
PromiseResult promise_from_json(const std::string& path);  // Error(input)

// DIR/promises/NAME.json, NAME.svg, NAME-wins.png, NAME-failures.png and NAME.txt (their captions), then
// DIR/promises.md anew from every NAME.json that is there. Returns the paths written.
std::vector<std::string> write_report(const std::string& folder, const PromiseResult& result,
                                      const ContactSheet& sheet);

}  // namespace heddle
