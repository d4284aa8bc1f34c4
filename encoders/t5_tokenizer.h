// The tokenizer of T5 (Raffel et al. 2020) as T5Tokenizer of transformers 5 has it, which is the `tokenizers` library:
// added tokens; the normalisation that the model carries; words at white space, "\u2581" before each; the unigram
// model's most probable pieces; "</s>" at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "encoders/added_vocabulary.h"
#include "encoders/normalizer.h"
#include "encoders/unigram.h"
#include "encoders/word_splitter.h"

namespace heddle {

// What the files of a tokenizer folder say; see t5_tokenizer_files.cpp.
struct T5TokenizerFiles {
  std::string where;  // the folder, for messages
  UnigramFile model;
  std::vector<AddedToken> added;  // in the order in which they get ids
  Normalizer normalizer;
  WordSplitter words = WordSplitter::of_t5();
  std::optional<std::pair<std::vector<int64_t>, std::vector<int64_t>>> around;  // ids before and after each text
  std::string eos = "</s>", unknown = "<unk>", pad = "<pad>";
  int64_t model_max_length = 512;  // also where the files state none
  bool pad_left = false, truncate_left = false;
  bool split_special = false;  // special tokens in a text are ordinary words
};

// Reads spiece.model or else tokenizer.json, with tokenizer_config.json, special_tokens_map.json and added_tokens.json
// where they exist. Error(input) for any malformed file.
T5TokenizerFiles read_t5_tokenizer(const std::string& folder);
// Whether a folder holds a tokenizer of this kind: spiece.model, or a tokenizer.json with a unigram model.
bool holds_t5_tokenizer(const std::string& folder);

struct PaddedText {
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;  // 1 for ids of the text and its end, 0 for padding
};

class T5Tokenizer {
 public:
  static T5Tokenizer load(const std::string& folder) { return T5Tokenizer(read_t5_tokenizer(folder)); }
  explicit T5Tokenizer(T5TokenizerFiles files);

  // Without the end. Error(usage) for text that is not UTF-8.
  std::vector<Piece> pieces(std::string_view text) const;
  std::vector<int64_t> encode(std::string_view text) const;  // with the end, of any length

  // The ids cut so that with their end they are at most `length`, then padding: exactly `length` ids, as pipelines ask
  // for with padding="max_length" and truncation. Error(usage) for a length that leaves the end no room.
  PaddedText encode_padded(std::string_view text, int64_t length) const;

  // The text of a token, a space for "\u2581"; Error(usage) for an id that is none.
  std::string decode_piece(int64_t id) const;

  int64_t eos() const { return eos_; }
  int64_t pad() const { return pad_; }
  int64_t model_max_length() const { return files_.model_max_length; }

 private:
  std::vector<int64_t> ids_of(std::string_view text) const;

  T5TokenizerFiles files_;
  Unigram model_;
  AddedVocabulary vocabulary_;
  int64_t eos_ = 0, pad_ = 0;
  std::vector<int64_t> before_, after_;
};

}  // namespace heddle
