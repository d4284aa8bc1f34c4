// What is said where something is refused.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/core/error.h"

namespace heddle::testing {

// The one line of the Error(code) that `run` throws, or `otherwise`.
template <typename Run>
std::string refusal_of(Run run, const std::string& otherwise = "nothing was refused",
                       ErrorCode code = ErrorCode::usage) {
  try {
    run();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), code) << text;
    EXPECT_EQ(text.find('\n'), text.npos) << text;
    return text;
  }
  return otherwise;
}

}  // namespace heddle::testing
