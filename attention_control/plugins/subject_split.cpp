// Subject and background as two branches.
#include "attention_control/plugins/subject_split.h"

#include <algorithm>
#include <limits>

namespace heddle {
namespace {

constexpr const char* background = "masactrl.background";

using Made = std::vector<float> (*)(const SubjectSplit& split, bool inside, int64_t count);

// What each source key adds to its score.
std::vector<float> key_bias(const SubjectSplit& split, bool inside, int64_t keys) {
  std::vector<float> bias(static_cast<size_t>(keys));
  const std::vector<float> all(bias.size(), inside ? 1.0f : 0.0f);
  const std::vector<float>& subject = split.useful() ? split.keys : all;
  std::ranges::transform(subject, bias.begin(),
                         [&](float k) { return (k != 0) == inside ? 0.0f : -std::numeric_limits<float>::infinity(); });
  return bias;
}

// How much of a query's result comes from this part.
std::vector<float> query_weight(const SubjectSplit& split, bool inside, int64_t queries) {
  std::vector<float> weight(static_cast<size_t>(queries), 1.0f);
  if (split.useful()) weight = split.queries;
  if (!inside) std::ranges::transform(weight, weight.begin(), [](float w) { return 1 - w; });
  return weight;
}

Tensor rows(const std::vector<SubjectSplit>& splits, bool inside, int64_t count, Made made) {
  std::vector<float> values;
  for (const SubjectSplit& split : splits) {
    const std::vector<float> row = made(split, inside, count);
    values.insert(values.end(), row.begin(), row.end());
  }
  return Tensor::from(std::span<const float>(values), {static_cast<int64_t>(splits.size()), count});
}

}  // namespace

bool SubjectSplit::useful() const {
  return std::ranges::find(keys, 0.0f) != keys.end() && std::ranges::find(keys, 1.0f) != keys.end();
}

void attend_apart(const SiteScope& site, const LaneRef& source, const SubjectSplits& splits) {
  site.declare(AddBranch{.name = background});
  for (const bool inside : {true, false}) {
    const SiteScope part = inside ? site : site.on(background);
    const std::string what = inside ? "subject" : "background";
    part.declare(Take{.role = Role::k, .lane = source}).declare(Take{.role = Role::v, .lane = source});
    part.declare(AddScore{Term{.text = "mask to the source's " + what,
                               .form = Column{},
                               .at_run_time = [=](const TermPlace& place) -> std::vector<TermForm> {
                                 return {Column{rows(splits(place), inside, token_count(place.tokens.key), key_bias)}};
                               }}});
    part.declare(Weigh{.text = "where the target's " + what + " is", .at_run_time = [=](const TermPlace& place) {
                         return rows(splits(place), inside, token_count(place.tokens.query), query_weight);
                       }});
  }
}

}  // namespace heddle
