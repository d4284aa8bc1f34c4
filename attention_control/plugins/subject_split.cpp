// Subject and background as two branches.
#include "attention_control/plugins/subject_split.h"

#include <algorithm>
#include <limits>

namespace heddle {
namespace {

constexpr const char* background = "masactrl.background";

// Labels of image tokens 0, outside, and 1, inside; 2 for text tokens.
std::vector<int64_t> labels_of(const TokenLayout& layout, const std::vector<float>& inside) {
  std::vector<int64_t> out;
  for (const TokenSegment& segment : layout) {
    if (segment.name == "image")
      for (const float v : inside) out.push_back(v != 0 ? 1 : 0);
    else
      out.insert(out.end(), static_cast<size_t>(segment.tokens()), 2);
  }
  return out;
}

// What is not part of this softmax: image keys outside the subject, or inside, unless text looks.
TermForm hidden(const std::vector<SubjectSplit>& splits, bool inside, const SiteTokens& tokens) {
  std::vector<int64_t> queries, keys;
  for (const SubjectSplit& split : splits) {
    const std::vector<float> whole(static_cast<size_t>(range_of(tokens.key, "image").size()), inside ? 1.0f : 0.0f);
    const std::vector<int64_t> q = labels_of(tokens.query, split.useful() ? split.queries : whole);
    const std::vector<int64_t> k = labels_of(tokens.key, split.useful() ? split.keys : whole);
    queries.insert(queries.end(), q.begin(), q.end());
    keys.insert(keys.end(), k.begin(), k.end());
  }
  constexpr float no = -std::numeric_limits<float>::infinity();
  const float out = inside ? no : 0, in = inside ? 0 : no;
  const float table[] = {out, in, 0, out, in, 0, 0, 0, 0};
  const auto rows = static_cast<int64_t>(splits.size());
  const auto ids = [rows](const std::vector<int64_t>& values) {
    return Tensor::from(std::span<const int64_t>(values), {rows, static_cast<int64_t>(values.size()) / rows});
  };
  return Labels{ids(queries), ids(keys), Tensor::from(std::span<const float>(table), {3, 3})};
}

// How much of a query's result comes from this part; all of the text's from the first.
Tensor weights(const std::vector<SubjectSplit>& splits, bool inside, const SiteTokens& tokens) {
  std::vector<float> values;
  for (const SubjectSplit& split : splits) {
    const std::vector<float> whole(static_cast<size_t>(range_of(tokens.query, "image").size()), 1.0f);
    for (const int64_t label : labels_of(tokens.query, split.useful() ? split.queries : whole))
      values.push_back((label != 0) == inside ? 1.0f : 0.0f);
  }
  const auto rows = static_cast<int64_t>(splits.size());
  return Tensor::from(std::span<const float>(values), {rows, static_cast<int64_t>(values.size()) / rows});
}

}  // namespace

bool SubjectSplit::useful() const {
  return std::ranges::find(keys, 0.0f) != keys.end() && std::ranges::find(keys, 1.0f) != keys.end();
}

void attend_apart(const SiteScope& site, const Take& keys, const SubjectSplits& splits) {
  Take values = keys;
  values.role = Role::v;
  values.places = KeyPlaces::own;
  site.declare(AddBranch{.name = background});
  for (const bool inside : {true, false}) {
    const SiteScope part = inside ? site : site.on(background);
    const std::string what = inside ? "subject" : "background";
    part.declare(keys).declare(values);
    part.declare(AddScore{Term{.text = "mask to the source's " + what,
                               .form = SegmentPair{},
                               .at_run_time = [=](const TermPlace& place) -> std::vector<TermForm> {
                                 return {hidden(splits(place), inside, place.tokens)};
                               }}});
    part.declare(Weigh{.text = "where the target's " + what + " is", .at_run_time = [=](const TermPlace& place) {
                         return weights(splits(place), inside, place.tokens);
                       }});
  }
}

}  // namespace heddle
