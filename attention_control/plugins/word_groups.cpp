// Groups of words.
#include "attention_control/plugins/word_groups.h"

#include <algorithm>
#include <limits>

#include "attention_control/plugins/noun_phrases.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
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
  MemberGroups out{.nouns = {},
                   .attributes = {},
                   .nouns_by_encoder = {},
                   .captured = {},
                   .others = {},
                   .length = member.words.length};
  std::set<int64_t> taken;
  for (const WordGroup& group : asked) {
    out.nouns.push_back(group.noun.positions(member.words, where));
    out.nouns_by_encoder.push_back(member.words.by_part(out.nouns.back()));
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
  const auto columns_of = [&](const std::vector<int64_t>& tokens) {
    std::vector<int64_t> columns;
    for (const int64_t token : tokens)
      columns.push_back(std::ranges::find(groups.captured, token) - groups.captured.begin());
    return gather(map, 2, columns);
  };
  std::vector<Tensor> parts;
  for (size_t g = 0; g < groups.count(); ++g) {
    if (score == GroupScore::sum) {
      parts.push_back(sum(columns_of(groups.of(g)), {2}, Axes::keep));
      continue;
    }
    Tensor best;
    for (const std::vector<int64_t>& noun : groups.nouns_by_encoder[g]) {
      const Tensor one = max(columns_of(noun), 2, Axes::keep);
      best = best.defined() ? add(best, one) : one;
    }
    parts.push_back(best);
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

Labels group_mask(const std::vector<int64_t>& pixels, int64_t rows, const MemberGroups& of, const SiteTokens& tokens) {
  const auto groups = static_cast<int64_t>(of.count()), each = static_cast<int64_t>(pixels.size()) / rows;
  std::vector<int64_t> words(static_cast<size_t>(of.length), groups);  // group of each word; K: none
  for (int64_t g = 0; g < groups; ++g) {
    for (const int64_t token : of.of(static_cast<size_t>(g))) words[static_cast<size_t>(token)] = g;
  }
  // Labels: pixels by their group 0 .. K, words from K + 1 on by theirs.
  const auto labels = [&](const TokenLayout& layout, int64_t count) {
    std::vector<int64_t> out;
    for (int64_t row = 0; row < count; ++row) {
      for (const TokenSegment& segment : layout) {
        for (int64_t i = 0; i < segment.tokens(); ++i)
          out.push_back(segment.name == "image" ? pixels[static_cast<size_t>(row * each + i)]
                                                : groups + 1 + words[static_cast<size_t>(i)]);
      }
    }
    return Tensor::from(std::span<const int64_t>(out), {count, token_count(layout)});
  };
  const int64_t kinds = 2 * (groups + 1);
  std::vector<float> table;
  for (int64_t q = 0; q < kinds; ++q) {
    for (int64_t k = 0; k < kinds; ++k) {
      const bool one_is_word = (q > groups) != (k > groups);
      const int64_t a = q % (groups + 1), b = k % (groups + 1);
      const bool apart = one_is_word && a != b && a != groups && b != groups;
      table.push_back(apart ? -std::numeric_limits<float>::infinity() : 0);
    }
  }
  return {labels(tokens.query, rows), labels(tokens.key, image_text(tokens).image_keys.empty() ? 1 : rows),
          Tensor::from(std::span<const float>(table), {kinds, kinds})};
}

}  // namespace heddle
