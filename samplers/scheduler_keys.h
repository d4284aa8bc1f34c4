// Typed look-up of the keys of scheduler_config.json, with overrides merged over them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/core/error.h"
#include "samplers/scheduler_config.h"

namespace heddle {

// The file's object; Error(input) naming `where` when the text is no JSON object. Python's -Infinity becomes a string.
nlohmann::json parse_scheduler_object(std::string_view text, std::string_view where);

// Error for a key that no published scheduler has, naming the nearest one that has meaning.
void check_scheduler_keys(const nlohmann::json& object, ErrorCode code, std::string_view where);

// The value for messages.
std::string text_of(const nlohmann::json& value);

template <typename Pairs>
std::string listed(const Pairs& pairs) {
  std::string text;
  for (const auto& pair : pairs) text += (text.empty() ? "" : ", ") + std::string(pair.first);
  return text;
}

// A key that is absent or null takes the default. Errors are Error(usage) for an overridden key, Error(input) for the
// file's.
class SchedulerKeys {
 public:
  SchedulerKeys(const nlohmann::json& file, const nlohmann::json& overrides, std::string_view where)
      : file_(file), overrides_(overrides), where_(where) {}

  const nlohmann::json* find(const char* key) const;  // nullptr where absent or null
  bool overridden(const char* key) const { return overrides_.contains(key); }
  bool flag(const char* key, bool fallback) const;
  double number(const char* key, double fallback, double low, double high) const;
  int64_t integer(const char* key, int64_t fallback, int64_t low, int64_t high) const;

  template <typename T, size_t n>
  T choice(const char* key, T fallback, const std::pair<const char*, T> (&choices)[n]) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    for (const auto& [word, meaning] : choices) {
      if (*value == word) return meaning;
    }
    refuse(key, "one of " + listed(choices));
  }

  [[noreturn]] void refuse(const char* key, const std::string& wanted) const;

 private:
  const nlohmann::json& file_;
  const nlohmann::json& overrides_;
  std::string where_;
};

// use_karras_sigmas, use_exponential_sigmas or use_beta_sigmas; an error for two of them.
SigmaSpacing read_sigma_spacing(const SchedulerKeys& keys);

}  // namespace heddle
