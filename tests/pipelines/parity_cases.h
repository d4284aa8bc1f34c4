// The runs that fixtures hold: a list of cases with names.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/json.h"

namespace heddle::testing {

inline std::vector<Json> parity_cases(const std::string& folder) {
  const Json all = Json::read(folder + "cases.json");
  std::vector<Json> out;
  for (size_t i = 0; i < all.size(); ++i) out.push_back(all[i]);
  return out;
}

inline std::string case_name(const ::testing::TestParamInfo<Json>& info) {
  std::string name = info.param.get<std::string>("name");
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}

}  // namespace heddle::testing
