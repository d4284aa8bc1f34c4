// TokenWords: tokens of a prompt as a preset names them, by words or by position.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "attention_control/plan/words.h"
#include "io/params.h"

namespace heddle {

// `cat`, `"red balloon"`, `cat#2`, a position (0 is the start token), or a list of these that belong together.
struct TokenWords {
  std::vector<std::variant<int64_t, std::string>> items;

  // Ascending, each once. Error(usage) at `where` for words that the prompt has not and positions beyond its text.
  std::vector<int64_t> positions(const PromptTokens& prompt, const std::string& where) const;
};

// The same where [] says that there are none.
struct TokenWordsOrNone : TokenWords {};

template <>
struct ParamType<TokenWords> : PlainParam {
  static std::string name() { return "words or token positions"; }
  static void read(const YamlNode& node, const Limits&, TokenWords& out);
  static YamlNode write(const TokenWords& value);
};

template <>
struct ParamType<TokenWordsOrNone> : ParamType<TokenWords> {
  static std::string name() { return "words or token positions, or [] for none"; }
  static void read(const YamlNode& node, const Limits& limits, TokenWordsOrNone& out);
};

}  // namespace heddle
