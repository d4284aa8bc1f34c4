// article adjective* noun
#include "attention_control/plugins/noun_phrases.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

namespace heddle {
namespace {

bool ends_phrase(std::string_view word) {
  constexpr std::array words{"a",    "an",    "the",     "and",     "or",     "with",    "of",    "on",    "in",
                             "at",   "by",    "to",      "from",    "near",   "over",    "under", "above", "below",
                             "left", "right", "next",    "beside",  "behind", "is",      "are",   "while", "some",
                             "two",  "three", "that",    "which",   "front",  "between", "into",  "its",   "his",
                             "her",  "their", "wearing", "holding", "inside", "against", "for",   "photo"};
  return std::ranges::find(words, word) != words.end();
}

bool in_word(unsigned char c) {
  return c >= 128 || std::isalnum(c) != 0 || c == '-';
}

}  // namespace

std::vector<std::string> function_words(const std::string& prompt) {
  std::vector<std::string> out;
  std::string word;
  for (size_t i = 0; i <= prompt.size(); ++i) {
    const unsigned char c = i < prompt.size() ? static_cast<unsigned char>(prompt[i]) : ' ';
    if (in_word(c)) {
      word += static_cast<char>(c < 128 ? std::tolower(c) : c);
    } else if (!word.empty()) {
      if (ends_phrase(word) && std::ranges::find(out, word) == out.end()) out.push_back(word);
      word.clear();
    }
  }
  return out;
}

std::vector<NounPhrase> noun_phrases(const std::string& prompt) {
  std::vector<NounPhrase> out;
  std::vector<std::string> phrase;
  std::map<std::string, int> seen;
  const auto numbered = [&](const std::string& word, int number) {
    return number > 1 ? word + "#" + std::to_string(number) : word;
  };
  std::vector<int> numbers;
  const auto finish = [&] {
    if (!phrase.empty()) {
      NounPhrase one{.noun = numbered(phrase.back(), numbers.back()), .attributes = {}};
      for (size_t i = 0; i + 1 < phrase.size(); ++i) one.attributes.push_back(numbered(phrase[i], numbers[i]));
      out.push_back(std::move(one));
    }
    phrase.clear();
    numbers.clear();
  };
  std::string word;
  for (size_t i = 0; i <= prompt.size(); ++i) {
    const unsigned char c = i < prompt.size() ? static_cast<unsigned char>(prompt[i]) : ' ';
    if (in_word(c)) {
      word += static_cast<char>(c < 128 ? std::tolower(c) : c);
      continue;
    }
    if (!word.empty()) {
      const int number = ++seen[word];
      if (ends_phrase(word)) {
        finish();
      } else {
        phrase.push_back(word);
        numbers.push_back(number);
      }
      word.clear();
    }
    if (c != ' ') finish();
  }
  finish();
  // "cat" alone would mean every place: the first of several is written with its number, too.
  for (NounPhrase& p : out) {
    for (std::string* w : [&] {
           std::vector<std::string*> all{&p.noun};
           for (std::string& a : p.attributes) all.push_back(&a);
           return all;
         }()) {
      if (w->find('#') == std::string::npos && seen[*w] > 1) *w += "#1";
    }
  }
  return out;
}

}  // namespace heddle
