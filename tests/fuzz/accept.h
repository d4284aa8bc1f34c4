// What a reader may do with any bytes: succeed, or throw an Error of one line. Anything else stops the fuzzer.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "kernels/core/error.h"

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

// For readers that take a path: a file that is written anew for each input.
inline std::string scratch_file(const char* ending) {
  static const std::string folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "heddle-fuzz-XXXXXX").string();
    return std::string(mkdtemp(pattern.data()));
  }();
  return folder + "/input" + ending;
}

}  // namespace heddle::testing
