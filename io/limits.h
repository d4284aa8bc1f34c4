// What a parameter may be, and the two shapes of value that YAML has beyond C++'s own.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace heddle {

// What a number, or each number of a list, may be; or which words a text may be.
struct Limits {
  double low = -INFINITY, high = INFINITY;
  std::vector<std::string> words;
  std::string text() const;  // "0 to 10", "at least 1", "ddim | euler"; empty for none
};
inline Limits range(double low, double high) {
  return {low, high, {}};
}
inline Limits at_least(double low) {
  return {low, INFINITY, {}};
}
inline Limits one_of(std::vector<std::string> words) {
  return {-INFINITY, INFINITY, std::move(words)};
}

// An enum class is a parameter where its words are given: template <> struct ParamWords<Rng> { static constexpr
// std::array words{"torch-cpu", "torch-cuda"}; }; in the order of its enumerators.
template <typename E>
struct ParamWords;

// One value or a list of them.
template <typename V>
struct OneOrMany {
  std::vector<V> values;
};

// A map from names that the writer chooses.
template <typename V>
struct Named {
  std::vector<std::pair<std::string, V>> entries;
};

// A number of bytes, written as a whole number or with a unit: 4GiB, 512 MiB, 2GB.
struct ByteCount {
  int64_t bytes = 0;
};

}  // namespace heddle
