// The one exception type of heddle. Its text is always one line: "[where] wanted X; got Y; try Z".
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace heddle {

// The numbers are the exit codes of the command line.
enum class ErrorCode { internal = 1, usage = 2, input = 3, memory = 4, cancelled = 5 };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Throws Error with the house's message form. `hint` may be empty. Control characters and line breaks in the parts
// (they may quote hostile files) are replaced, and over-long parts are cut, so that the message stays one line.
[[noreturn]] void fail(ErrorCode code, std::string_view where, std::string_view wanted, std::string_view got,
                       std::string_view hint = {});

// The candidate nearest to `word` by edit distance, or empty when none is near enough to be a likely misspelling.
template <typename Range>
std::string nearest_word(std::string_view word, const Range& candidates);

int edit_distance(std::string_view a, std::string_view b);

template <typename Range>
std::string nearest_word(std::string_view word, const Range& candidates) {
  std::string best;
  int best_distance = static_cast<int>(word.size()) / 2 + 2;
  for (const auto& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace heddle
