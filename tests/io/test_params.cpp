// Parameters declared once: what binds, what is refused and with which words.
#include <gtest/gtest.h>

#include "io/params.h"
#include "tests/io/temporary.h"

namespace heddle::testing {

enum class Mood { calm, wild };

struct Box {
  std::array<double, 4> corners{};
  std::string words;
  static auto params() {
    return Params<Box>{need("box", &Box::corners, range(0, 1), "left, top, right, bottom"),
                       need("words", &Box::words, "what it holds")};
  }
};

struct Method {
  std::vector<Box> subjects;
  float pull = 1.5f;
  int steps = 4;
  bool bound = true;
  Mood mood = Mood::calm;
  std::optional<int> top;
  OneOrMany<std::string> prompt;
  ByteCount budget;
  std::string kind = "a";
  static auto params() {
    return Params<Method>{need("subjects", &Method::subjects, "boxes and their words"),
                          opt("pull", &Method::pull, range(0, 10), "length of the step"),
                          opt("steps", &Method::steps, at_least(1), "how many"),
                          opt("bound", &Method::bound, "whether it is bound"),
                          opt("mood", &Method::mood, "how it is"),
                          opt("top", &Method::top, "the upper end"),
                          opt("prompt", &Method::prompt, "what to draw"),
                          opt("budget", &Method::budget, "memory"),
                          opt("kind", &Method::kind, one_of({"a", "b"}), "which")};
  }
};

}  // namespace heddle::testing

namespace heddle {
template <>
struct ParamWords<testing::Mood> {
  static constexpr std::array<const char*, 2> words{"calm", "wild"};
};
}  // namespace heddle

namespace heddle::testing {
namespace {

const std::string subjects = "subjects: [{box: [0, 0, 0.5, 1], words: red circle}]\n";

Method read(const std::string& yaml) {
  return read_params<Method>(parse_yaml(subjects + yaml, "m.yaml"));
}
std::string why(const std::string& yaml) {
  return error_of(ErrorCode::usage, [&] { read(yaml); });
}

TEST(Params, BindEveryType) {
  const Method m =
      read("pull: 2\nsteps: +7\nbound: false\nmood: wild\ntop: -3\nprompt: [x, 'y']\nbudget: 1.5 KiB\nkind: b\n");
  EXPECT_EQ(m.subjects.size(), 1u);
  EXPECT_EQ(m.subjects[0].corners[2], 0.5);
  EXPECT_EQ(m.subjects[0].words, "red circle");
  EXPECT_EQ(m.pull, 2.0f);
  EXPECT_EQ(m.steps, 7);
  EXPECT_FALSE(m.bound);
  EXPECT_EQ(m.mood, Mood::wild);
  EXPECT_EQ(m.top, -3);
  EXPECT_EQ(m.prompt.values, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(m.budget.bytes, 1536);
  EXPECT_EQ(read("prompt: 42").prompt.values, (std::vector<std::string>{"42"}));
  EXPECT_EQ(read("steps: null").steps, 4);
}

TEST(Params, WritingAndReadingIsTheSame) {
  const Method m = read("pull: 0.1\nmood: wild\nprompt: x\nbudget: 4GiB\n");
  const std::string json = yaml_to_json(Method::params().write(m));
  EXPECT_EQ(json,
            R"({"subjects":[{"box":[0,0,0.5,1],"words":"red circle"}],"pull":0.1,"steps":4,"bound":true,"mood":"wild",)"
            R"("prompt":"x","budget":4294967296,"kind":"a"})");
  EXPECT_EQ(yaml_to_json(Method::params().write(read_params<Method>(yaml_from_json(json, "j")))), json);
}

TEST(Params, FaultsNameLineAndKey) {
  EXPECT_EQ(why("pul: 1"), "[m.yaml:2 pul] wanted a known key; got \"pul\"; try \"pull\"");
  EXPECT_EQ(why("qqqqqqqq: 1").substr(0, 81),
            "[m.yaml:2 qqqqqqqq] wanted a known key; got \"qqqqqqqq\"; try one of subjects | pul");
  EXPECT_EQ(why("pull: 11"), "[m.yaml:2 pull] wanted a number, 0 to 10; got \"11\"");
  EXPECT_EQ(why("pull: .inf"), "[m.yaml:2 pull] wanted a number, 0 to 10; got \".inf\"");
  EXPECT_EQ(why("pull: nan"), "[m.yaml:2 pull] wanted a number, 0 to 10; got \"nan\"");
  EXPECT_EQ(why("pull: '1'"), "[m.yaml:2 pull] wanted a number, 0 to 10; got \"1\"");
  EXPECT_EQ(why("steps: 0"), "[m.yaml:2 steps] wanted a whole number, at least 1; got \"0\"");
  EXPECT_EQ(why("steps: 1.5"), "[m.yaml:2 steps] wanted a whole number, at least 1; got \"1.5\"");
  EXPECT_EQ(why("steps: 3000000000"), "[m.yaml:2 steps] wanted a whole number, at least 1; got \"3000000000\"");
  EXPECT_EQ(why("steps: 99999999999999999999"),
            "[m.yaml:2 steps] wanted a whole number, at least 1; got \"99999999999999999999\"");
  EXPECT_EQ(why("bound: yes"), "[m.yaml:2 bound] wanted true or false; got \"yes\"");
  EXPECT_EQ(why("mood: wid"), "[m.yaml:2 mood] wanted calm | wild; got \"wid\"; try \"wild\"");
  EXPECT_EQ(why("kind: [a]"), "[m.yaml:2 kind] wanted a | b; got a list of 1");
  EXPECT_EQ(why("prompt: {a: 1}"), "[m.yaml:2 prompt] wanted text; got a map");
  EXPECT_EQ(why("budget: 4 parsecs"),
            "[m.yaml:2 budget] wanted a number of bytes, or a size such as 4GiB; got \"4 parsecs\"");
  EXPECT_EQ(why("budget: -1"), "[m.yaml:2 budget] wanted a number of bytes, or a size such as 4GiB; got \"-1\"");
}

TEST(Params, FaultsInsideLists) {
  const auto fault = [](const std::string& yaml) {
    return error_of(ErrorCode::usage, [&] { read_params<Method>(parse_yaml(yaml, "m.yaml")); });
  };
  EXPECT_EQ(fault("pull: 1"), "[m.yaml:1] wanted the key \"subjects\" (boxes and their words); got none");
  EXPECT_EQ(fault("subjects: 3"), "[m.yaml:1 subjects] wanted a list; got \"3\"");
  EXPECT_EQ(fault("subjects:\n- {box: [0, 0, 1], words: x}"),
            "[m.yaml:2 subjects[0].box] wanted a list of 4; got a list of 3");
  EXPECT_EQ(fault("subjects:\n- {box: [0, 0, 1, 2], words: x}"),
            "[m.yaml:2 subjects[0].box[3]] wanted a number, 0 to 1; got \"2\"");
  EXPECT_EQ(fault("subjects:\n- {box: [0, 0, 1, 1]}"),
            "[m.yaml:2 subjects[0]] wanted the key \"words\" (what it holds); got none");
  EXPECT_EQ(fault("- a"), "[m.yaml:1] wanted a map of keys; got a list of 1");
}

TEST(Params, TheTableIsMadeFromTheDeclaration) {
  const std::string table = params_table(Method::params().describe());
  EXPECT_NE(table.find("| `subjects` | list of map | required | boxes and their words |\n"
                       "| `subjects[].box` | list of 4: number, 0 to 1 | required | left, top, right, bottom |\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("| `pull` | number, 0 to 10 | 1.5 | length of the step |\n"), std::string::npos) << table;
  EXPECT_NE(table.find("| `mood` | calm, wild | \"calm\" | how it is |\n"), std::string::npos) << table;
}

}  // namespace
}  // namespace heddle::testing
