// Text by T5, as encode_prompt of StableDiffusion3Pipeline and FluxPipeline: padded to its length, no mask.
#include "pipelines/joint_text.h"

#include <algorithm>
#include <cctype>

#include "encoders/prompt.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

// T5's pieces take the space before a word with them.
size_t first_of_word(const std::string& text, const Piece& piece) {
  size_t begin = piece.begin;
  while (begin < piece.end && std::isspace(static_cast<unsigned char>(text[begin])) != 0) ++begin;
  return begin;
}

// Places of CLIP's tokens, and of the first end token among them.
int64_t put_clip_tokens(PromptTokens& out, const ClipTokenizer& tokenizer, const TextSettings& settings) {
  const std::vector<PromptChunk> chunks = chunk_prompt(tokenizer, out.text,
                                                       {.weights = settings.weights == PromptWeights::a1111,
                                                        .long_prompts = settings.long_prompts == LongPrompts::chunks});
  int64_t position = 0;
  for (const PromptChunk& chunk : chunks) {
    const auto length = static_cast<int64_t>(chunk.ids.size());
    PromptPart part{.begin = position, .first = position + 1, .end = 0, .stop = position + length};
    for (size_t i = 0; i < chunk.ids.size(); ++i, ++position) {
      const Piece& piece = chunk.pieces[i];
      if (piece.begin < piece.end) out.tokens.push_back({position, piece.begin, piece.end, chunk.ids[i]});
      if (part.end == 0 && i > 0 && piece.begin == piece.end && chunk.ids[i] == tokenizer.eos()) part.end = position;
    }
    if (out.end == 0) out.end = part.end;
    out.parts.push_back(part);
  }
  return position;
}

void put_t5_tokens(PromptTokens& out, const T5Tokenizer& tokenizer, int64_t first) {
  const PaddedText padded = tokenizer.encode_padded(out.text, out.length - first);
  PromptPart part{.begin = first, .first = first, .end = first, .stop = out.length};
  for (size_t i = 0; i < padded.ids.size(); ++i) {
    const Piece& piece = padded.pieces[i];
    const int64_t position = first + static_cast<int64_t>(i);
    const size_t begin = first_of_word(out.text, piece);
    if (begin < piece.end) out.tokens.push_back({position, begin, piece.end, piece.id});
    const bool ends = padded.mask[i] == 1 && piece.begin == piece.end && piece.id == tokenizer.eos();
    if (ends && part.end == first) part.end = position;
  }
  if (out.end == 0) out.end = part.end;
  out.parts.push_back(part);
}

}  // namespace

void check_text_settings(Model& model, const TextSettings& settings) {
  const bool flux = model.family() == Family::flux, joint = flux || model.family() == Family::sd3;
  if (!joint && settings.max_sequence_length)
    fail(ErrorCode::usage, "text.max_sequence_length", "a model of SD3 or FLUX", "one without T5", "text.long_prompts");
  if (flux && settings.clip_skip.value_or(0) > 0)
    fail(ErrorCode::usage, "text.clip_skip", "none: FLUX reads only CLIP's summary of the prompt",
         std::to_string(*settings.clip_skip));
  if (flux && settings.long_prompts == LongPrompts::chunks)
    fail(ErrorCode::usage, "text.long_prompts", "truncate: FLUX reads long prompts by T5", "chunks",
         "text.max_sequence_length");
  if (model.has_t5() && settings.weights == PromptWeights::a1111)
    fail(ErrorCode::usage, "text.weights", "off: T5 takes no weights", "a1111");
  constexpr int schnell = 256;
  if (flux && !model.traits().guidance_scale && settings.max_sequence_length.value_or(0) > schnell)
    fail(ErrorCode::usage, "text.max_sequence_length", "at most " + std::to_string(schnell) + " with FLUX schnell",
         std::to_string(*settings.max_sequence_length));
}

int64_t t5_length(Model& model, const TextSettings& settings) {
  if (model.family() != Family::sd3 && model.family() != Family::flux) return 0;
  const bool dev = model.family() == Family::flux && model.traits().guidance_scale;
  return settings.max_sequence_length.value_or(dev ? 512 : 256);
}

Tensor t5_states(Model& model, const std::string& text, int64_t length) {
  if (!model.has_t5()) return Tensor::zeros({1, length, model.traits().text_width});
  const std::vector<int64_t> ids = model.t5_tokenizer().encode_padded(text, length).ids;
  AttentionContext context;
  return model.t5_encoder()(Tensor::from(std::span<const int64_t>(ids), {1, length}), Tensor(), context);
}

PromptTokens prompt_tokens(Model& model, const std::string& text, const TextSettings& settings, int64_t length) {
  PromptTokens out{.text = text, .tokens = {}, .end = 0, .length = length};
  int64_t clip = 0;
  if (model.family() != Family::flux) clip = put_clip_tokens(out, model.tokenizers().front(), settings);
  // Where another text of the batch had more chunks of CLIP's, T5's states stand behind those.
  const int64_t t5 = std::max(clip, length - t5_length(model, settings));
  if (t5 > clip) out.parts.push_back({.begin = clip, .first = clip, .end = clip, .stop = t5});
  if (model.has_t5()) {
    put_t5_tokens(out, model.t5_tokenizer(), t5);
  } else if (length > t5) {
    out.parts.push_back({.begin = t5, .first = t5, .end = t5, .stop = length});
  }
  return out;
}

}  // namespace heddle
