// Prompts from any text: weights, breaks and windows.
#include "encoders/prompt.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  static const ClipTokenizer tokenizer = ClipTokenizer::load(std::string(HEDDLE_FIXTURES) + "/encoders/tokenizer/pair");
  const std::string_view prompt = testing::text_of(data, size);
  testing::accept([&] { chunk_prompt(tokenizer, prompt, {}); });
  return testing::accept([&] {
    for (const PromptChunk& chunk : chunk_prompt(tokenizer, prompt, {.weights = true, .long_prompts = true})) {
      for (const Piece& piece : chunk.pieces) {
        if (piece.begin > piece.end || piece.end > prompt.size()) std::abort();
      }
    }
  });
}
