// What a reader may do with any bytes: succeed, or throw an Error of one line. Anything else stops the fuzzer.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "kernels/core/error.h"
#include "tests/io/temporary.h"

namespace heddle::testing {

template <typename F>
int accept(F read) {
  try {
    read();
  } catch (const Error& e) {
    const bool documented = e.code() == ErrorCode::usage || e.code() == ErrorCode::input;
    if (!documented || std::string(e.what()).find('\n') != std::string::npos) std::abort();
  }
  return 0;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A folder for readers that take paths; its files are written anew for each input.
inline const std::string& scratch_folder() {
  static const TemporaryFolder folder;
  static const std::string root = folder.root();
  return root;
}

}  // namespace heddle::testing
