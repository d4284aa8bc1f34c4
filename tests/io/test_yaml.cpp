// YAML trees, `--set`, JSON and back, and the bounds.
#include <gtest/gtest.h>

#include "io/yaml.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

std::string why(const std::string& text) {
  return error_of(ErrorCode::usage, [&] { parse_yaml(text, "p.yaml"); });
}

TEST(Yaml, ValuesKnowWhereTheyStand) {
  const YamlNode root = parse_yaml("a: 1\nb:\n  c: [x, 'y']\n  d: {e: null}\n", "p.yaml");
  EXPECT_EQ(root.find("a")->text, "1");
  EXPECT_EQ(root.find("a")->where, "p.yaml:1 a");
  const YamlNode& list = *root.find("b")->find("c");
  EXPECT_EQ(list.items[1].where, "p.yaml:3 b.c[1]");
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_EQ(root.find("b")->find("d")->find("e")->kind, YamlNode::Kind::none);
  EXPECT_EQ(root.find("nothing"), nullptr);
  EXPECT_EQ(root.entries[1].where, "p.yaml:2 b");
}

TEST(Yaml, TextInBlocksAndManyLanguages) {
  const YamlNode root =
      parse_yaml("\xef\xbb\xbf# \xc3\xa9\nprompt: |\n  a cat\n  \xe7\x8c\xab\nflow: >-\n  one\n  two\n", "p.yaml");
  EXPECT_EQ(root.find("prompt")->text, "a cat\n\xe7\x8c\xab\n");
  EXPECT_EQ(root.find("flow")->text, "one two");
}

TEST(Yaml, FaultsNameTheirLine) {
  EXPECT_EQ(why("a: 1\nb: 2\na: 3\n"), "[p.yaml:3 a] wanted each key once; got \"a\" again");
  EXPECT_EQ(why("a: &x [1]\nb: *x\n"), "[p.yaml:2] wanted no aliases; got one; try writing it out");
  EXPECT_EQ(why("a: &x [*x]\n"), "[p.yaml:1] wanted no aliases; got one; try writing it out");
  EXPECT_EQ(why("a:\n\tb: 1\n"), "[p.yaml:2] wanted spaces as indentation; got a tab");
  EXPECT_EQ(why("a: \xff\n"), "[p.yaml:1] wanted UTF-8; got other bytes; try saving the file as UTF-8");
  EXPECT_EQ(why(std::string("a: b\n\0", 6)), "[p.yaml:2] wanted text; got a control character");
  EXPECT_EQ(why("a: 1\n---\nb: 2\n"), "[p.yaml:2] wanted one YAML document; got another");
  EXPECT_TRUE(why("a: !!python/object:os.system x\n").starts_with("[p.yaml:1] wanted no YAML tags; got "));
  EXPECT_EQ(why("a: 1\n? [x]\n: 2\n"),
            "[p.yaml:2] wanted words as keys and every bracket closed; got a list or a map in the place of a key");
  EXPECT_TRUE(why("a: [1, 2\nb: 3\n").starts_with("[p.yaml:"));
  for (const char* text : {"a: 'open\n", "a: \"open\n", "a: \"op\\\"en\n", "- 'x''\n", "\xc3\xa9: 'x\n"}) {
    EXPECT_EQ(why(text), "[p.yaml:1] wanted a closing quote; got none") << text;
  }
  EXPECT_EQ(parse_yaml("\xc3\xa9: 'it''s \"'\r\nb: \"x\\\"'\"\r\n", "p").find("b")->text, "x\"'");
}

TEST(Yaml, DepthSizeAndNumberAreBounded) {
  EXPECT_EQ(why(std::string(65, '[') + std::string(65, ']')), "[p.yaml:1] wanted at most 64 levels; got more");
  EXPECT_EQ(parse_yaml(std::string(64, '[') + std::string(64, ']'), "p.yaml").kind, YamlNode::Kind::list);
  EXPECT_TRUE(why(std::string(1 << 19, '[')).starts_with("[p.yaml:1] wanted "));
  EXPECT_TRUE(why(std::string((1 << 20) + 1, 'x')).find("at most 1048576 bytes") != std::string::npos);
  std::string many = "[";
  for (int i = 0; i < 20001; ++i) many += "1,";
  EXPECT_TRUE(why(many + "]").find("at most 20000 values") != std::string::npos);
}

std::string set(const std::string& yaml, const std::string& assignment) {
  YamlNode root = parse_yaml(yaml, "p.yaml");
  set_yaml(root, assignment);
  return yaml_to_json(root);
}

TEST(Yaml, SetReplacesAndAdds) {
  EXPECT_EQ(set("a: {b: 1}", "a.b=2"), R"({"a":{"b":2}})");
  EXPECT_EQ(set("a: {b: 1}", "a.c=[1, x]"), R"({"a":{"b":1,"c":[1,"x"]}})");
  EXPECT_EQ(set("a: 1", "n.m.o=true"), R"({"a":1,"n":{"m":{"o":true}}})");
  EXPECT_EQ(set("", "p=a cat: on grass # 1"), R"({"p":"a cat: on grass # 1"})");
  EXPECT_EQ(set("p: x", "p="), R"({"p":""})");
  EXPECT_EQ(set("p: x", "p=null"), R"({"p":null})");
  EXPECT_EQ(set("p: x", "p=\"12\""), R"({"p":"12"})");
  EXPECT_EQ(set("l: [{m: {k: 1}}, {n: {k: 2}}]", "l.1.n.k=3"), R"({"l":[{"m":{"k":1}},{"n":{"k":3}}]})");
  EXPECT_EQ(set("l: [{m: {k: 1}}, {n: {k: 2}}]", "l.n.k=3"), R"({"l":[{"m":{"k":1}},{"n":{"k":3}}]})");
}

TEST(Yaml, SetFaultsNameTheKey) {
  const auto fault = [](const std::string& yaml, const std::string& assignment) {
    return error_of(ErrorCode::usage, [&] { set(yaml, assignment); });
  };
  EXPECT_EQ(fault("a: 1", "a.b=2"), "[--set a.b] wanted keys inside a map; got \"b\" inside \"1\"");
  EXPECT_EQ(fault("a: [1]", "a.5=2"), "[--set a.5] wanted an index or a name of the list; got \"5\"");
  EXPECT_EQ(fault("a: 1", "steps"), "[--set] wanted key=value; got \"steps\"");
  EXPECT_EQ(fault("a: 1", "=3"), "[--set] wanted key=value; got \"=3\"");
  EXPECT_TRUE(fault("a: 1", "a..b=3").starts_with("[--set a..b] wanted a path of keys"));
  EXPECT_EQ(fault("a: 1", "a=[1, 2").substr(0, 54), "[--set a:1] wanted words as keys and every bracket clo");
}

TEST(Yaml, JsonAndBack) {
  const char* json = R"({"z":1,"a":[true,"true",null,0.25,"0.25",-3],"t":"\u732b \"x\""})";
  EXPECT_EQ(yaml_to_json(yaml_from_json(json, "f.png")), json);
  EXPECT_EQ(yaml_to_json(parse_yaml("[.5, +5, 1e3, 0x10, ~, nan]", "p")), R"([0.5,"+5",1000.0,"0x10",null,"nan"])");
  EXPECT_EQ(error_of(ErrorCode::input, [] { yaml_from_json("{", "f.png"); }).substr(0, 25),
            "[f.png] wanted JSON; got ");
}

}  // namespace
}  // namespace heddle::testing
