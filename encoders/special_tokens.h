// What the files of a tokenizer folder say about tokens beside the vocabulary: the special ones and those added after
// training, with the precedence of transformers 5 (from_pretrained of a tokenizer whose class rebuilds its pipeline).
// special_tokens_map.json, added_tokens.json and the list in tokenizer.json count only where tokenizer_config.json has
// no added_tokens_decoder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "encoders/added_tokens.h"
#include "io/json.h"

namespace heddle {

// A special token as the files name it: a bare text has no flags of its own.
struct SpecialToken {
  AddedToken token;
  bool bare = true;
  bool operator==(const SpecialToken&) const = default;
};

class SpecialTokens {
 public:
  // `config` is tokenizer_config.json, `tokenizer` tokenizer.json. Error(input) for any malformed value.
  static SpecialTokens read(const std::string& folder, const std::optional<Json>& config,
                            const std::optional<Json>& tokenizer);

  // The content of "eos_token" and so on; where no file names it, it becomes `fallback`.
  std::string resolve(const std::string& name, const std::string& fallback);
  // One more special token, behind those that the files list.
  void add_extra(const AddedToken& token) { extra_.push_back({token, false}); }
  bool has_extra() const { return !extra_.empty(); }
  // All tokens in the order in which they are added: those with ids, then special ones that are not among them.
  std::vector<AddedToken> in_order() const;

 private:
  void read_specials(const Json& object, bool special);
  void read_added_tokens_file(const Json& object);
  void add_decoded(int64_t id, const AddedToken& token);

  std::map<std::string, SpecialToken> values_;  // by "bos_token" and so on
  std::vector<SpecialToken> extra_;
  std::map<int64_t, AddedToken> decoder_;         // by the id the files state
  std::map<std::string, AddedToken> by_content_;  // the same
};

// A JSON file of a tokenizer folder, of at most 64 MB, if it exists.
std::optional<Json> read_tokenizer_file(const std::string& folder, const char* name);
// "padding_side" or "truncation_side" of tokenizer_config.json.
bool is_left(const std::optional<Json>& config, const char* key);
// model_max_length of tokenizer_config.json, at least `least`; `fallback` where none or Python's "no limit" is stated.
int64_t read_model_length(const std::optional<Json>& config, int64_t least, int64_t fallback);

}  // namespace heddle
