// Checks that configurations of networks share.
#pragma once

#include <string>

#include "io/json.h"
#include "kernels/core/error.h"

namespace heddle {

constexpr int64_t largest_width = 1 << 16;

[[noreturn]] inline void refuse(const Json& json, const std::string& key, const std::string& wanted,
                                const std::string& got) {
  fail(ErrorCode::input, json.where() + " " + key, wanted, got);
}

inline int64_t bounded(const Json& json, const std::string& key, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    refuse(json, key, "a number in " + std::to_string(low) + ".." + std::to_string(high), std::to_string(value));
  }
  return value;
}

// The number under `key`, or `fallback` where there is none, within low..high.
inline int64_t bounded_or(const Json& json, const std::string& key, int64_t fallback, int64_t low, int64_t high) {
  return bounded(json, key, json.get_or<int64_t>(key, fallback), low, high);
}

}  // namespace heddle
