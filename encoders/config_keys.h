// What the configurations of the encoders share: which keys are bookkeeping, and numbers within bounds.
#pragma once

#include <span>
#include <string_view>

#include "io/json.h"

namespace heddle {

// Keys that transformers and diffusers write beside those that state the computation.
std::span<const std::string_view> transformers_bookkeeping();
std::span<const std::string_view> diffusers_bookkeeping();

// Error(input) naming the first key that is in neither list, and the nearest of `known`. Keys that begin with "_" are
// bookkeeping too.
void require_known_keys(const Json& json, std::initializer_list<std::string_view> known,
                        std::span<const std::string_view> bookkeeping);

struct Bounds {
  int64_t least = 1, most = 1;
};
// Error(input) naming the key for a number outside the bounds.
int64_t bounded_count(const Json& json, const char* key, int64_t fallback, const Bounds& bounds);

}  // namespace heddle
