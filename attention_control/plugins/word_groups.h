// Entities of a prompt as groups of tokens, and which group each pixel belongs to by its cross-attention map.
#pragma once

#include <set>

#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/token_words.h"
#include "kernels/core/tensor.h"

namespace heddle {

struct WordGroup {
  TokenWords noun, attributes;
  static Params<WordGroup> params();
};

enum class GroupScore : uint8_t { noun_max, sum };  // its best noun token, or all its tokens together

// Tokens of one member's prompt by group; no token is in two.
struct MemberGroups {
  std::vector<std::vector<int64_t>> nouns, attributes;
  std::vector<std::vector<std::vector<int64_t>>> nouns_by_encoder;
  std::vector<int64_t> captured;  // all of them, ascending
  std::set<int64_t> others;       // words of no group
  int64_t length = 0;             // of the prompt's layout

  size_t count() const { return nouns.size(); }
  std::vector<int64_t> of(size_t group) const;  // nouns, then attributes

  // `asked` empty: the noun phrases of the prompt. Error(usage) at `where` for groups with a common token.
  static MemberGroups resolve(std::vector<WordGroup> asked, const Member& member, const std::string& where);
};

// [R,Nx,K] from a map [R,Nx,T] of the captured tokens; what several encoders say of a noun adds up.
Tensor group_scores(const Tensor& map, const MemberGroups& groups, GroupScore score);

// R * Nq numbers: the best group of each pixel, the lower index at ties; K where the two best are closer than
// `min_margin`.
std::vector<int64_t> winning_groups(const Tensor& scores, double min_margin);

// A pixel of group k sees no words of other groups and, at joint sites, is not seen by them; k = K sees and is seen by
// all. pixels [R * Nx] of `rows` rows.
Labels group_mask(const std::vector<int64_t>& pixels, int64_t rows, const MemberGroups& groups,
                  const SiteTokens& tokens);

}  // namespace heddle
