// The code of the one-line Error that something throws.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernels/core/error.h"

namespace heddle::testing {

inline ErrorCode error_of(const std::function<void()>& run, const std::string& what) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << what;
    EXPECT_EQ(error.what()[0], '[') << error.what();
    return error.code();
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << error.what();
    return ErrorCode::internal;
  }
  ADD_FAILURE() << "no error for " << what;
  return ErrorCode::internal;
}

}  // namespace heddle::testing
