// The tokenizer of CLIP (Radford et al. 2021) as CLIPTokenizer of transformers 5 has it, which is the `tokenizers`
// library: NFC, runs of white space to one space, lower case of each code point; words by
//   <|startoftext|> | <|endoftext|> | 's|'t|'re|'ve|'m|'ll|'d | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
// then byte pairs. The older tokenizer in Python differs in three things, in which this one follows transformers 5: it
// cleaned text (ftfy where installed, else it dropped control characters and split CJK characters and accents), it took
// an upper-case "<|ENDOFTEXT|>" for the token always (here only where the token is marked `normalized`), and it ignored
// tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "encoders/added_vocabulary.h"
#include "encoders/byte_pairs.h"

namespace heddle {

// What the files of a tokenizer folder say; see clip_tokenizer_files.cpp.
struct ClipTokenizerFiles {
  std::string where;  // the folder, for messages
  Vocabulary vocabulary;
  MergeRules merges;
  std::vector<AddedToken> added;  // in the order in which they get ids
  std::string bos = "<|startoftext|>", eos = "<|endoftext|>", unknown = "<|endoftext|>", pad = "<|endoftext|>";
  int64_t model_max_length = 77;  // also where the files state none
  bool pad_left = false, truncate_left = false;
  bool split_special = false;  // special tokens in a text are ordinary words
};

// Reads tokenizer.json or else vocab.json and merges.txt, with tokenizer_config.json, special_tokens_map.json and
// added_tokens.json where they exist. Error(input) for any malformed file.
ClipTokenizerFiles read_clip_tokenizer(const std::string& folder);

// A word that textual inversion taught the text encoder, with one token for each of its vectors: "<cat>", "<cat>_1" and
// so on, as diffusers adds them.
struct LearnedToken {
  std::string word;
  int64_t vectors = 1;
  std::string where;  // for messages
};

class ClipTokenizer {
 public:
  static ClipTokenizer load(const std::string& folder) { return ClipTokenizer(read_clip_tokenizer(folder)); }
  explicit ClipTokenizer(ClipTokenizerFiles files);
  // The word stands for all its tokens from now on. The id of the first; the others follow it. Error(input) for a word
  // that the vocabulary has.
  int64_t learn(const LearnedToken& token);

  // Without the begin and end tokens. Error(usage) for text that is not UTF-8.
  std::vector<Piece> pieces(std::string_view text) const;
  std::vector<int64_t> encode(std::string_view text) const;

  // Begin, the ids cut to model_max_length - 2, end, padding: model_max_length ids.
  std::vector<int64_t> encode_padded(std::string_view text) const { return pad(encode(text)); }
  std::vector<int64_t> pad(std::vector<int64_t> ids) const;

  // The text of a token, a space after it where it ends a word; Error(usage) for an id that is none.
  std::string decode_piece(int64_t id) const;

  int64_t bos() const { return bos_; }
  int64_t eos() const { return eos_; }
  int64_t pad() const { return pad_; }
  int64_t model_max_length() const { return files_.model_max_length; }
  bool truncates_left() const { return files_.truncate_left; }
  bool pads_left() const { return files_.pad_left; }

 private:
  void split_words(const SourceText& text, std::vector<Piece>& out) const;
  void encode_word(std::span<const SourceChar> word, std::vector<Piece>& out) const;

  void put_token(const Piece& piece, std::vector<Piece>& out) const;

  ClipTokenizerFiles files_;
  BytePairs byte_pairs_;
  AddedVocabulary vocabulary_;
  std::unordered_map<int64_t, int64_t> learned_;  // ids of first tokens, numbers of tokens
  int64_t bos_ = 0, eos_ = 0, pad_ = 0;
};

}  // namespace heddle
