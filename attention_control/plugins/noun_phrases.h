// Noun phrases of a plain English prompt: what stands for a parser where a preset names no groups.
#pragma once

#include <string>
#include <vector>

namespace heddle {

struct NounPhrase {
  std::string noun;                     // "balloon", or "cat#2" where the word stands more than once
  std::vector<std::string> attributes;  // "red"
};

// Words between articles, prepositions, conjunctions, verbs of the copula and punctuation: the last one is the noun.
std::vector<NounPhrase> noun_phrases(const std::string& prompt);

// Those words: articles, prepositions, conjunctions and their like, in lower case, as they stand in the prompt.
std::vector<std::string> function_words(const std::string& prompt);

}  // namespace heddle
