// Prompts with weights and prompts longer than the text encoder's window, both off by default: then a prompt is cut to
// the window as diffusers does. Weights follow AUTOMATIC1111's web UI: (x) is 1.1, [x] is 1/1.1, (x:1.3) is 1.3, nested
// ones multiply, \( \) \[ \] \\ are the characters themselves, and BREAK begins a new chunk.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "encoders/clip_tokenizer.h"
#include "kernels/core/tensor.h"

namespace heddle {

struct PromptOptions {
  bool weights = false;  // read the syntax above
  // Chunks of model_max_length - 2 tokens, each between its own begin and end, no limit. With weights, too, a full
  // chunk ends after its last comma where that is among its last 20 tokens, as in the web UI.
  bool long_prompts = false;
};

// A run of a prompt with one weight, syntax removed; `source` has the byte of the prompt that each byte of `text` came
// from.
struct WeightedText {
  std::string text;
  double weight = 1;
  std::vector<size_t> source;
  bool breaks = false;  // a BREAK stands here instead of text
};

// Never fails: brackets without a partner are text or hold to the end of the prompt, as in the web UI.
std::vector<WeightedText> parse_weights(std::string_view prompt);

// One window of the text encoder.
struct PromptChunk {
  std::vector<int64_t> ids;    // model_max_length of them
  std::vector<float> weights;  // of each id; 1 for begin, end and padding
  std::vector<Piece> pieces;   // of each id, bytes of the prompt; empty ranges for begin, end and padding
};

// At least one chunk. Error(usage) for a BREAK while long prompts are off.
std::vector<PromptChunk> chunk_prompt(const ClipTokenizer& tokenizer, std::string_view prompt,
                                      const PromptOptions& options);

// The chunk of no text, with which a shorter prompt of a batch is brought to the length of the longest.
PromptChunk empty_chunk(const ClipTokenizer& tokenizer);

// Positions, over all chunks end to end, of the tokens that cover any byte of [begin, end) of the prompt.
std::vector<int64_t> positions_of(const std::vector<PromptChunk>& chunks, size_t begin, size_t end);

// The web UI's rule: the embedding [1,T,C] of a chunk times its weights, then scaled so that its mean over T and C is
// what it was. The tensor itself, bit for bit, where all weights are 1.
Tensor apply_weights(const Tensor& embedding, const std::vector<float>& weights);

}  // namespace heddle
