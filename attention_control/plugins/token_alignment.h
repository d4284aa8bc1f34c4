// Which token of one prompt stands for which of another: the maps of Prompt-to-Prompt (Hertz et al. 2023, seq_aligner).
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/words.h"

namespace heddle {

// Positions of each word between spaces; a word that the encoder's window cut off has none.
struct PlacedWord {
  std::string word;
  std::vector<int64_t> positions;
};
std::vector<PlacedWord> placed_words(const PromptTokens& prompt);

// share[c * slots + t]: how much of source token c's attention goes to target token t.
struct TokenAlignment {
  int64_t slots = 0;
  std::vector<float> share;
  std::vector<float> aligned;  // of each target token: 1 where the source has one for it, else 0
  float at(int64_t source, int64_t target) const { return share[static_cast<size_t>(source * slots + target)]; }
  bool is_identity() const;
};

// Where several encoders read the prompts, each one's tokens are aligned by themselves.
TokenAlignment identity_alignment(int64_t slots);
// Word for word: as many pieces go one to one, else each source piece is shared out evenly over the target's pieces.
// Error(usage) at `where` for unequal numbers of words.
TokenAlignment replace_words(const PromptTokens& source, const PromptTokens& target, const std::string& where);
// Needleman-Wunsch over tokens (gap 0, match 1, mismatch -1); target tokens without a partner are not aligned.
TokenAlignment align_tokens(const PromptTokens& source, const PromptTokens& target);

}  // namespace heddle
