// Lists of bookkeeping keys and the checks over them.
#include "encoders/config_keys.h"

#include <algorithm>
#include <array>

#include "kernels/core/error.h"

namespace heddle {

namespace {

// Training, generation and file format: nothing that a forward pass of an encoder reads. Older releases wrote all of
// the generation defaults into every file.
constexpr auto transformers_keys = std::to_array<std::string_view>({"add_cross_attention",
                                                                    "architectures",
                                                                    "attention_dropout",
                                                                    "attn_implementation",
                                                                    "bad_words_ids",
                                                                    "begin_suppress_tokens",
                                                                    "bos_token_id",
                                                                    "chunk_size_feed_forward",
                                                                    "cross_attention_hidden_size",
                                                                    "decoder_start_token_id",
                                                                    "diversity_penalty",
                                                                    "do_sample",
                                                                    "dropout",
                                                                    "dtype",
                                                                    "early_stopping",
                                                                    "encoder_no_repeat_ngram_size",
                                                                    "exponential_decay_length_penalty",
                                                                    "finetuning_task",
                                                                    "forced_bos_token_id",
                                                                    "forced_eos_token_id",
                                                                    "gradient_checkpointing",
                                                                    "id2label",
                                                                    "initializer_factor",
                                                                    "initializer_range",
                                                                    "is_decoder",
                                                                    "is_encoder_decoder",
                                                                    "label2id",
                                                                    "length_penalty",
                                                                    "max_length",
                                                                    "min_length",
                                                                    "model_type",
                                                                    "no_repeat_ngram_size",
                                                                    "num_beam_groups",
                                                                    "num_beams",
                                                                    "num_return_sequences",
                                                                    "output_attentions",
                                                                    "output_hidden_states",
                                                                    "output_scores",
                                                                    "pad_token_id",
                                                                    "prefix",
                                                                    "problem_type",
                                                                    "pruned_heads",
                                                                    "remove_invalid_values",
                                                                    "repetition_penalty",
                                                                    "return_dict",
                                                                    "return_dict_in_generate",
                                                                    "sep_token_id",
                                                                    "suppress_tokens",
                                                                    "task_specific_params",
                                                                    "temperature",
                                                                    "tf_legacy_loss",
                                                                    "tie_encoder_decoder",
                                                                    "tie_word_embeddings",
                                                                    "tokenizer_class",
                                                                    "top_k",
                                                                    "top_p",
                                                                    "torch_dtype",
                                                                    "torchscript",
                                                                    "transformers_version",
                                                                    "typical_p",
                                                                    "use_bfloat16",
                                                                    "use_cache"});

constexpr auto diffusers_keys = std::to_array<std::string_view>({"dtype", "torch_dtype", "transformers_version"});

}  // namespace

std::span<const std::string_view> transformers_bookkeeping() {
  return transformers_keys;
}
std::span<const std::string_view> diffusers_bookkeeping() {
  return diffusers_keys;
}

void require_known_keys(const Json& json, std::initializer_list<std::string_view> known,
                        std::span<const std::string_view> bookkeeping) {
  for (const std::string& key : json.keys()) {
    if (key.starts_with('_') || std::find(known.begin(), known.end(), key) != known.end() ||
        std::find(bookkeeping.begin(), bookkeeping.end(), key) != bookkeeping.end()) {
      continue;
    }
    const std::string near = nearest_word(key, known);
    fail(ErrorCode::input, json.where(), "keys this engine knows", "\"" + key + "\"",
         near.empty() ? "" : "\"" + near + "\"");
  }
}

int64_t bounded_count(const Json& json, const char* key, int64_t fallback, const Bounds& bounds) {
  const auto value = json.get_or<int64_t>(key, fallback);
  if (value < bounds.least || value > bounds.most) {
    fail(ErrorCode::input, json.where() + " " + key,
         "a number in " + std::to_string(bounds.least) + ".." + std::to_string(bounds.most), std::to_string(value));
  }
  return value;
}

}  // namespace heddle
