// JSON getters and their errors.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

Json config() {
  return Json::parse(R"({"layers": 2, "eps": 1e-5, "name": "unet", "heads": [5, 10, 20], "both": 8, "flag": true,
                         "none": null, "depths": [[1, 2], [3]], "inner": {"a": 1}, "_class_name": "X"})",
                     "unet/config.json");
}

std::string why(const std::string& text) {
  return error_of(ErrorCode::input, [&] { Json::parse(text, "f.json"); });
}

template <typename F>
std::string config_error(F action) {
  return error_of(ErrorCode::input, [&] { action(config()); });
}

TEST(Json, TypedValues) {
  const Json c = config();
  EXPECT_EQ(c.get<int>("layers"), 2);
  EXPECT_EQ(c.get<double>("layers"), 2.0);
  EXPECT_EQ(c.get<double>("eps"), 1e-5);
  EXPECT_EQ(c.get<std::string>("name"), "unet");
  EXPECT_TRUE(c.get<bool>("flag"));
  EXPECT_EQ(c.get<std::vector<int>>("heads"), (std::vector<int>{5, 10, 20}));
  EXPECT_EQ(c.get<std::vector<std::vector<int64_t>>>("depths"), (std::vector<std::vector<int64_t>>{{1, 2}, {3}}));
  EXPECT_EQ(c.get<Json>("inner").get<int64_t>("a"), 1);
  EXPECT_EQ(c.each<int>("heads", 3), (std::vector<int>{5, 10, 20}));
  EXPECT_EQ(c.each<int>("both", 3), (std::vector<int>{8, 8, 8}));
}

TEST(Json, NullIsNotGiven) {
  EXPECT_FALSE(config().has("none"));
  EXPECT_EQ(config().get_or<int>("none", 7), 7);
  EXPECT_EQ(config_error([](const Json& c) { c.get<int>("none"); }),
            "[unet/config.json] wanted the key \"none\"; got none");
}

TEST(Json, ErrorsNameFileAndKey) {
  EXPECT_EQ(config_error([](const Json& c) { c.get<int>("name"); }),
            "[unet/config.json name] wanted a whole number; got \"unet\"");
  EXPECT_EQ(config_error([](const Json& c) { c.get<int>("eps"); }),
            "[unet/config.json eps] wanted a whole number; got 1e-05");
  EXPECT_EQ(config_error([](const Json& c) { c.get<std::vector<bool>>("heads"); }),
            "[unet/config.json heads[0]] wanted true or false; got 5");
  EXPECT_EQ(config_error([](const Json& c) { c.get<Json>("inner").get<std::string>("a"); }),
            "[unet/config.json inner a] wanted text; got 1");
  EXPECT_EQ(config_error([](const Json& c) { c.each<int>("heads", 2); }),
            "[unet/config.json heads] wanted a value or a list of 2; got a list of 3");
}

TEST(Json, AnUnknownKeyNamesTheNearest) {
  EXPECT_EQ(error_of(ErrorCode::input,
                     [] {
                       Json::parse(R"({"sample_sise": 1, "_x": 2})", "c.json").require_known({"sample_size", "norm"});
                     }),
            "[c.json] wanted keys this engine knows; got \"sample_sise\"; try \"sample_size\"");
}

TEST(Json, NumbersThatPythonWrites) {
  const Json c =
      Json::parse(R"({"a": -Infinity, "b": NaN, "c": Infinity, "d": "NaN \" -Infinity", "e": -1})", "s.json");
  EXPECT_EQ(c.get<double>("a"), -INFINITY);
  EXPECT_TRUE(std::isnan(c.get<double>("b")));
  EXPECT_EQ(c.get<double>("c"), INFINITY);
  EXPECT_EQ(c.get<std::string>("d"), "NaN \" -Infinity");
  EXPECT_EQ(c.get<double>("e"), -1);
}

TEST(Json, HostileTextIsOneLine) {
  EXPECT_EQ(why(std::string(100000, '[')), "[f.json] wanted at most 64 levels of JSON; got more");
  EXPECT_EQ(why(R"({"a": 1, "b": {"a": 1}, "a": 2})"), "[f.json] wanted each key once; got \"a\" twice");
  EXPECT_NE(why("{\"a\": 1,\n").find("line 2"), std::string::npos);
  for (const char* text :
       {"", "nul", "{\"a\" 1}", "[1,]", "\"\xff\"", "{} {}", "1e999", "Infinit", "[-Infinity", "\"\\"}) {
    EXPECT_TRUE(why(text).starts_with("[f.json] wanted JSON; got ")) << text << " gave " << why(text);
  }
}

}  // namespace
}  // namespace heddle::testing
