// Where a subject is in a source and in a target picture, and attention to the source that keeps subject and background
// apart (MasaCtrl's masks, Cao et al. 2023, section 4.2).
#pragma once

#include <functional>

#include "attention_control/plan/builder.h"

namespace heddle {

// 1 in the subject, 0 outside: keys of the source, queries of the target, for one row of a lane.
struct SubjectSplit {
  std::vector<float> keys, queries;
  // A source that is all subject, all background, or not told, tells nothing: it is then looked at as a whole.
  bool useful() const;
};

// One for each row of the lane at a place.
using SubjectSplits = std::function<std::vector<SubjectSplit>(const TermPlace& place)>;

// Two softmaxes, each over its own image keys of `source` (and, at joint sites, the text's own), put together by the
// target's mask. Text queries look at all of them.
void attend_apart(const SiteScope& site, const Take& keys, const SubjectSplits& splits);

}  // namespace heddle
