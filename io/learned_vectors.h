// Files of textual inversion (Gal et al. 2023, arXiv 2208.01618): a word and the vectors of a text encoder's table of
// tokens that were learned for it. As diffusers writes them (one tensor under the word), as AUTOMATIC1111's web UI does
// (`emb_params`), and with vectors of two encoders (`clip_l`, `clip_g`).
#pragma once

#include <string>

#include "kernels/core/tensor.h"

namespace heddle {

struct LearnedVectors {
  std::string where;  // the file and the tensor, for messages
  Tensor vectors;     // [n,width] f32; undefined where the file has none
};

struct LearnedWord {
  std::string word;
  LearnedVectors any;             // of whichever encoder is as wide
  LearnedVectors clip_l, clip_g;  // or of the first and of the second encoder
};

// `word`: the word of prompts; empty for the one that the file states, else the file's name without its ending.
// Error(input) for a file of anything else, for vectors that are not finite, for a word that is none.
LearnedWord read_learned_word(const std::string& path, const std::string& word);

}  // namespace heddle
