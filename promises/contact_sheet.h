// Pictures of typical wins and failures, with what the judge saw drawn into them.
#pragma once

#include "promises/metrics.h"

namespace heddle {

// Keeps the first few pairs of each kind that come along, so that nobody chooses. A rate wins where the method is right
// and the plain run is not (without a method: where the run is right); an amount, where the method is better.
class ContactSheet {
 public:
  ContactSheet(const Metric& metric, size_t most) : metric_(metric), most_(most) {}
  void offer(const Pair& pair);

  // Rows of pairs: source where there is one, plain, method. Frames are green for right, red for wrong, grey where the
  // metric is an amount; named objects have white boxes, unknown ones magenta. Empty where no pair came.
  Image wins() const { return sheet(wins_); }
  Image failures() const { return sheet(failures_); }
  // A line for each pair in reading order: prompt, what was seen.
  std::vector<std::string> win_captions() const { return captions(wins_); }
  std::vector<std::string> failure_captions() const { return captions(failures_); }

 private:
  struct Entry {
    std::vector<Image> tiles;
    std::string caption;
  };
  Entry entry_of(const Pair& pair, std::optional<double> plain, std::optional<double> method) const;
  static Image sheet(const std::vector<Entry>& entries);
  static std::vector<std::string> captions(const std::vector<Entry>& entries);

  const Metric& metric_;
  size_t most_;
  std::vector<Entry> wins_, failures_;
};

}  // namespace heddle
