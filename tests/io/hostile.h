// What the hostile tests share: an action on broken bytes must end in one Error of the house's form, or, where the
// damage may be harmless, in nothing worse.
#pragma once

#include <random>
#include <string>

#include "tests/io/temporary.h"

namespace heddle::testing {

// Empty where `action` throws the right error, else what happened instead.
template <typename F>
std::string fault_of(ErrorCode code, F action) {
  try {
    action();
  } catch (const Error& e) {
    const std::string complaint = complaint_about(e, code);
    return complaint.empty() ? "" : complaint + ": " + e.what();
  } catch (const std::exception& e) {
    return std::string("another exception: ") + e.what();
  }
  return "no error";
}

// As fault_of, but success is as good.
template <typename F>
std::string fault_unless_sound(ErrorCode code, F action) {
  const std::string fault = fault_of(code, action);
  return fault == "no error" ? "" : fault;
}

inline std::string flip_bit(std::string bytes, size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  return bytes;
}

// One to four random edits: bytes changed, removed, doubled.
inline std::string mutate(std::string bytes, std::mt19937& random) {
  for (uint32_t edits = 1 + random() % 4; edits > 0 && !bytes.empty(); --edits) {
    const size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes.erase(at, 1 + random() % 8);
        break;
      case 2:
        bytes.insert(at, bytes.substr(at, 1 + random() % 8));
        break;
      default:
        bytes = flip_bit(std::move(bytes), at * 8 + random() % 8);
    }
  }
  return bytes;
}

}  // namespace heddle::testing
