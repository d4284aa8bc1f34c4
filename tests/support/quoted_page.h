// Pages whose C++ stands in a test, so that it compiles.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace heddle::testing {

// Expects each C++ block of `page` in `source` (both from the repository's root); how many there are.
inline int quoted_blocks(const std::string& page, const std::string& source) {
  const auto read = [](const std::string& path) {
    std::stringstream text;
    text << std::ifstream(std::string(HEDDLE_SOURCE_DIR) + "/" + path).rdbuf();
    return text.str();
  };
  const std::string text = read(page), code = read(source), open = "```cpp\n", close = "```";
  int blocks = 0;
  for (size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    at += open.size();
    const std::string block = text.substr(at, text.find(close, at) - at);
    EXPECT_NE(code.find(block), std::string::npos) << block;
    ++blocks;
  }
  return blocks;
}

}  // namespace heddle::testing
