// What maps of words of any run have to be.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/ops/elementwise.h"
#include "pipelines/generate.h"

namespace heddle::testing {

// The second picture of "a cat and a red hat" (or its like) has a map for each word; at every place the words together
// have more than `least` of the attention, and the start token and padding the rest.
inline void expect_maps_of_words(const RunResult& result, float least) {
  std::vector<std::string> words;
  Tensor sum;
  for (const WordMap& map : result.word_maps) {
    if (map.picture != 1) continue;
    words.push_back(map.word);
    sum = sum.defined() ? add(sum, map.map) : map.map;
  }
  EXPECT_EQ(words, (std::vector<std::string>{"a", "cat", "and", "a#2", "red", "hat"}));
  ASSERT_TRUE(sum.defined());
  for (const float v : sum.to_vector()) {
    EXPECT_GT(v, least);
    EXPECT_LT(v, 1.0f);
  }
}

}  // namespace heddle::testing
