// Groups of words.
#include "attention_control/plugins/word_groups.h"

#include <algorithm>
#include <limits>

#include "attention_control/plugins/noun_phrases.h"
#include "kernels/core/error.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {

Params<WordGroup> WordGroup::params() {
  return {need("noun", &WordGroup::noun, "the words or tokens that name the entity"),
          opt("attributes", &WordGroup::attributes, "the words or tokens that describe it")};
}

std::vector<int64_t> MemberGroups::of(size_t group) const {
  std::vector<int64_t> all = nouns[group];
  all.insert(all.end(), attributes[group].begin(), attributes[group].end());
  return all;
}

MemberGroups MemberGroups::resolve(std::vector<WordGroup> asked, const Member& member, const std::string& where) {
  if (asked.empty()) {
    for (const NounPhrase& phrase : noun_phrases(member.words.text)) {
      WordGroup group;
      group.noun.items.emplace_back(phrase.noun);
      for (const std::string& word : phrase.attributes) group.attributes.items.emplace_back(word);
      asked.push_back(std::move(group));
    }
  }
  MemberGroups out{.nouns = {}, .attributes = {}, .captured = {}, .others = {}, .length = member.words.length};
  std::set<int64_t> taken;
  for (const WordGroup& group : asked) {
    out.nouns.push_back(group.noun.positions(member.words, where));
    out.attributes.push_back(group.attributes.positions(member.words, where));
    for (const int64_t token : out.of(out.count() - 1)) {
      if (!taken.insert(token).second)
        fail(ErrorCode::usage, where + " groups", "groups without common tokens",
             "token " + std::to_string(token) + " in two");
    }
  }
  out.captured.assign(taken.begin(), taken.end());
  for (const PromptToken& token : member.words.tokens) {
    if (!taken.contains(token.position)) out.others.insert(token.position);
  }
  return out;
}

Tensor group_scores(const Tensor& map, const MemberGroups& groups, GroupScore score) {
  std::vector<Tensor> parts;
  for (size_t g = 0; g < groups.count(); ++g) {
    std::vector<int64_t> columns;
    for (const int64_t token : score == GroupScore::sum ? groups.of(g) : groups.nouns[g])
      columns.push_back(std::ranges::find(groups.captured, token) - groups.captured.begin());
    const Tensor own = gather(map, 2, columns);
    parts.push_back(score == GroupScore::sum ? sum(own, {2}, Axes::keep) : max(own, 2, Axes::keep));
  }
  return concat(parts, 2);
}

std::vector<int64_t> winning_groups(const Tensor& scores, double min_margin) {
  const std::vector<float> values = scores.to_vector();
  const auto groups = static_cast<std::ptrdiff_t>(scores.dim(2));
  std::vector<int64_t> out;
  for (auto begin = values.begin(); begin != values.end(); begin += groups) {
    const auto end = begin + groups, best = std::max_element(begin, end);
    float second = -1;
    for (auto it = begin; it != end; ++it) {
      if (it != best) second = std::max(second, *it);
    }
    const bool close = static_cast<double>(*best - second) < min_margin;
    out.push_back(close ? static_cast<int64_t>(groups) : best - begin);
  }
  return out;
}

Labels group_mask(const std::vector<int64_t>& query, int64_t rows, const MemberGroups& of) {
  const auto groups = static_cast<int64_t>(of.count());
  std::vector<int64_t> key(static_cast<size_t>(of.length));  // 0: a word of no group
  for (int64_t g = 0; g < groups; ++g) {
    for (const int64_t token : of.of(static_cast<size_t>(g))) key[static_cast<size_t>(token)] = g + 1;
  }
  std::vector<float> table(static_cast<size_t>((groups + 1) * (groups + 1)));
  for (int64_t q = 0; q < groups; ++q) {
    for (int64_t k = 0; k < groups; ++k)
      table[static_cast<size_t>(q * (groups + 1) + k + 1)] = q == k ? 0 : -std::numeric_limits<float>::infinity();
  }
  return {Tensor::from(std::span<const int64_t>(query), {rows, static_cast<int64_t>(query.size()) / rows}),
          Tensor::from(std::span<const int64_t>(key), {1, of.length}),
          Tensor::from(std::span<const float>(table), {groups + 1, groups + 1})};
}

}  // namespace heddle
