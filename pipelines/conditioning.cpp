// Text encoding as encode_prompt of diffusers' pipelines of Stable Diffusion 1 to 3, XL and FLUX.
#include "pipelines/conditioning.h"

#include <algorithm>
#include <map>

#include "kernels/core/error.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/view.h"
#include "pipelines/joint_text.h"

namespace heddle {
namespace {

// One text through one encoder: [1,L,D] of all its chunks, and the pooled state of the first.
struct Encoded {
  Tensor states, pooled;
};

Encoded encode_chunks(Model& model, size_t encoder, const std::vector<PromptChunk>& chunks, int64_t skip) {
  const ClipText& network = *model.text_encoders()[encoder];
  AttentionContext context;
  std::vector<Tensor> states;
  Tensor pooled;
  for (const PromptChunk& chunk : chunks) {
    const auto length = static_cast<int64_t>(chunk.ids.size());
    const ClipTextOutput out = network(Tensor::from(std::span<const int64_t>(chunk.ids), {1, length}), context);
    const bool plain = model.family() == Family::sdxl || model.family() == Family::sd3;
    const Tensor state = plain ? network.skipped_plain(out, skip) : network.skipped_normalised(out, skip);
    states.push_back(apply_weights(state, chunk.weights));
    if (!pooled.defined()) pooled = out.text_embeds.defined() ? out.text_embeds : out.pooler_output;
  }
  return {concat(states, 1), pooled};
}

class TextBatch {
 public:
  TextBatch(Model& model, const TextSettings& settings)
      : model_(model),
        options_{.weights = settings.weights == PromptWeights::a1111,
                 .long_prompts = settings.long_prompts == LongPrompts::chunks},
        t5_length_(t5_length(model, settings)) {}

  // Chunks of all texts must be known before any is encoded: shorter ones are filled up to the longest.
  void add(const std::string& text) {
    for (size_t i = 0; i < model_.tokenizers().size(); ++i) {
      std::vector<PromptChunk>& chunks =
          chunks_[text].emplace_back(chunk_prompt(model_.tokenizers()[i], text, options_));
      longest_ = std::max(longest_, chunks.size());
    }
  }

  // `skip` layers left out at the end.
  TextStates states(const std::vector<std::string>& texts, int64_t skip) {
    std::vector<Tensor> rows, pooled;
    for (const std::string& text : texts) {
      const TextStates& one = encoded(text, skip);
      rows.push_back(one.text);
      if (one.pooled.defined()) pooled.push_back(one.pooled);
    }
    return {concat(rows, 0), pooled.empty() ? Tensor() : concat(pooled, 0)};
  }

 private:
  const TextStates& encoded(const std::string& text, int64_t skip) {
    const auto found = done_.find({text, skip});
    if (found != done_.end()) return found->second;
    std::vector<Tensor> widths, pooled;
    for (size_t i = 0; i < model_.tokenizers().size(); ++i) {
      std::vector<PromptChunk> chunks = chunks_.at(text)[i];
      while (chunks.size() < longest_) chunks.push_back(empty_chunk(model_.tokenizers()[i]));
      const Encoded one = encode_chunks(model_, i, chunks, skip);
      widths.push_back(one.states);
      pooled.push_back(one.pooled);
    }
    return done_[{text, skip}] = joined(text, concat(widths, 2), pooled);
  }

  // CLIP's states, side by side, and pooled states as the family has them.
  TextStates joined(const std::string& text, const Tensor& clip, const std::vector<Tensor>& pooled) const {
    switch (model_.family()) {
      case Family::sd:
        return {clip, Tensor()};
      case Family::sdxl:
        return {clip, pooled.back()};
      case Family::sd3:
        return {concat({widened(clip), t5_states(model_, text, t5_length_)}, 1), concat(pooled, 1)};
      case Family::flux:
        return {t5_states(model_, text, t5_length_), pooled.front()};
    }
    fail(ErrorCode::internal, "text", "a known family", "another");
  }

  Tensor widened(const Tensor& clip) const {
    const int64_t width = model_.traits().text_width;
    if (clip.dim(2) > width)
      fail(ErrorCode::input, "text encoders", "states of at most " + std::to_string(width) + ", joint_attention_dim",
           std::to_string(clip.dim(2)));
    return pad(clip, 2, 0, width - clip.dim(2));
  }

  Model& model_;
  PromptOptions options_;
  int64_t t5_length_;
  size_t longest_ = 1;
  std::map<std::string, std::vector<std::vector<PromptChunk>>> chunks_;
  std::map<std::pair<std::string, int64_t>, TextStates> done_;
};

}  // namespace

EncodedText encode_text(Model& model, const TextRequest& request) {
  check_text_settings(model, request.settings);
  const bool zeros = !request.negatives && model.zeros_for_no_negative();
  const std::vector<std::string> negatives =
      request.negatives.value_or(std::vector<std::string>(request.prompts.size()));
  TextBatch batch(model, request.settings);
  for (const std::string& text : request.prompts) batch.add(text);
  if (request.guided && !zeros) {
    for (const std::string& text : negatives) batch.add(text);
  }
  EncodedText out{.cond = batch.states(request.prompts, request.settings.clip_skip.value_or(0)), .uncond = {}};
  if (!request.guided) return out;
  if (zeros) {
    out.uncond = {Tensor::zeros(out.cond.text.shape()), Tensor::zeros(out.cond.pooled.shape())};
  } else {
    out.uncond = batch.states(negatives, 0);  // the originals skip no layers for the negative prompt
  }
  return out;
}

Tensor time_ids(const MicroConditioning& told, int64_t rows) {
  std::vector<float> values;
  const auto add = [&](const WidthHeight& pair) {
    values.push_back(static_cast<float>(pair[1]));
    values.push_back(static_cast<float>(pair[0]));
  };
  add(told.original);
  add(told.crop);
  if (told.aesthetic_score) {
    values.push_back(static_cast<float>(*told.aesthetic_score));
  } else {
    add(told.target);
  }
  return repeat(Tensor::from(std::span<const float>(values), {1, static_cast<int64_t>(values.size())}), 0, rows);
}

Tensor embed_guidance(double guidance, int64_t dim, int64_t rows) {
  const Tensor at = Tensor::full({rows}, static_cast<float>((guidance - 1) * 1000));
  return sinusoid(at, {.dim = dim, .cosine_first = false, .downscale_freq_shift = 1});
}

}  // namespace heddle
