// The command as a user meets it: exit codes, what goes to stdout, one line for each failure.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/safetensors.h"
#include "tests/support/compare.h"

namespace {

namespace fs = std::filesystem;

const std::string fixtures = HEDDLE_FIXTURES;

struct Outcome {
  int code = -1;
  std::string out, err;
};

class Command : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* binary = std::getenv("HEDDLE_BINARY");
    ASSERT_NE(binary, nullptr) << "run through ctest, which names the binary";
    binary_ = binary;
    folder_ = fs::path(::testing::TempDir()) / ("heddle_cli_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Outcome run(const std::string& arguments) {
    const std::string err = (folder_ / "stderr").string();
    FILE* pipe = popen(("cd " + folder_.string() + " && " + binary_ + " " + arguments + " 2>" + err).c_str(), "r");
    Outcome outcome;
    std::array<char, 4096> buffer;
    for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) outcome.out.append(buffer.data(), n);
    const int status = pclose(pipe);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    std::ostringstream text;
    text << std::ifstream(err).rdbuf();
    outcome.err = text.str();
    return outcome;
  }

  std::string write(const std::string& name, const std::string& contents) {
    std::ofstream(folder_ / name) << contents;
    return (folder_ / name).string();
  }

  std::string preset(const std::string& more = "") {
    return write("preset.yaml", "heddle: 1\nmodel: " + fixtures +
                                    "/pipelines/sd1\nprompt: a cat\nsize: [16, 16]\nseed: 3\nsampler: {steps: 3}\n" +
                                    more);
  }

  // One line of the house's form and this code.
  void expect_refusal(const std::string& arguments, int code) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << ": " << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.err.rfind('[', 0), 0u) << outcome.err;
    EXPECT_NE(outcome.err.find("; got "), std::string::npos) << outcome.err;
    EXPECT_TRUE(outcome.out.empty()) << outcome.out;
  }

  std::string binary_;
  fs::path folder_;
};

TEST_F(Command, RunWritesAPictureThatKnowsHowItWasMade) {
  const Outcome made = run("run " + preset() + " -o cat.png");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.out, "cat.png\n");
  const Outcome told = run("inspect cat.png");
  EXPECT_EQ(told.code, 0);
  EXPECT_NE(told.out.find("\"prompt\":\"a cat\""), std::string::npos) << told.out;
  EXPECT_NE(told.out.find("Steps: 3"), std::string::npos) << told.out;
}

TEST_F(Command, SameBytesTwiceAndSetReachesAnyKey) {
  const auto bytes = [&](const std::string& arguments) {
    EXPECT_EQ(run("run " + preset() + " --set threads=2 -o a.png " + arguments).code, 0);
    std::ostringstream text;
    text << std::ifstream(folder_ / "a.png", std::ios::binary).rdbuf();
    return text.str();
  };
  EXPECT_EQ(bytes(""), bytes(""));
  EXPECT_NE(bytes(""), bytes("--set sampler.guidance=2"));
}

TEST_F(Command, ExitCodes) {
  expect_refusal("paint", 2);
  expect_refusal("run nothing.yaml", 3);
  expect_refusal("run " + preset("sedd: 4\n"), 2);
  expect_refusal("run " + preset() + " --set sampler.stepz=3", 2);
  expect_refusal("run " + preset("sampler: {steps: 3}\n"), 2);  // a key twice
  expect_refusal("run " + preset("memory_budget: 64KiB\n"), 4);
  expect_refusal("run " + preset("noise: preset.yaml\n"), 3);
  expect_refusal("run " + preset("attention:\n  - telepathy: {}\n"), 2);
  expect_refusal("run " + preset() + " --set sampler.name=ddmi", 2);
  expect_refusal("run " + preset() + " --set model=nobody", 2);
  expect_refusal("eval --component " + fixtures + "/pipelines --inputs x --output y", 3);
  expect_refusal("tokenize --model " + fixtures + " --text x", 3);
  expect_refusal("inspect " + write("empty.png", ""), 3);
  expect_refusal("inspect nowhere", 3);
  expect_refusal("bench", 2);
  EXPECT_FALSE(fs::exists(folder_ / "output.png"));
}

TEST_F(Command, EvalTokenizeInspectAndCompletion) {
  const std::string unet = fixtures + "/unet_dit/sd1";
  EXPECT_NE(run("inspect --sites " + unet).out.find("down.0.block0.depth0.self"), std::string::npos);
  EXPECT_NE(run("inspect " + fixtures + "/pipelines/sd1").out.find("CLIPTextModel"), std::string::npos);
  const Outcome ids = run("tokenize --model " + fixtures + "/pipelines/sdxl --text 'a cat'");
  EXPECT_EQ(std::count(ids.out.begin(), ids.out.end(), '\n'), 2);
  const std::string t5 = "tokenize --model " + fixtures + "/encoders/t5_tokenizer/spiece --text 'a photo of a cat'";
  EXPECT_EQ(run(t5).out, "5 87 199 7 22 14 11 5 47 7 1\n");
  EXPECT_EQ(run(t5 + " --length 4").out, "5 87 199 1\n");
  EXPECT_EQ(run(t5 + " --length 12").out, "5 87 199 7 22 14 11 5 47 7 1 0\n");
  EXPECT_EQ(run(t5 + " --length -1").code, 2);
  EXPECT_NE(run(t5 + " --pieces").err.find("5   a  0..1"), std::string::npos);
  EXPECT_NE(run("completion bash").out.find("--component"), std::string::npos);
  EXPECT_EQ(run("--help").code, 0);
  EXPECT_EQ(run("run --help").code, 0);
  EXPECT_EQ(run("--version").code, 0);
}

// Of the ids there is no gradient, of their embeddings there is.
TEST_F(Command, EvaluatesTextEncodersOfT5) {
  using heddle::TensorMap;
  const std::string folder = fixtures + "/encoders/t5/umt5", inputs = (folder_ / "in.safetensors").string();
  const TensorMap io = heddle::read_safetensors(folder + "/io.safetensors");
  const auto eval = [&](const TensorMap& some) {
    heddle::write_safetensors(inputs, some);
    return run("eval --component " + folder + " --inputs in.safetensors --output out.safetensors");
  };
  const auto result = [&](const char* name) {
    return heddle::read_safetensors((folder_ / "out.safetensors").string()).at(name);
  };
  const auto mask = *io.find("attention_mask"), ids = *io.find("input_ids"), embeds = *io.find("inputs_embeds"),
             cotangent = *io.find("cotangent");
  ASSERT_EQ(eval({ids}).code, 0);
  EXPECT_LE(heddle::testing::error_over_std(result("last_hidden_state"), io.at("expected.plain")), 2e-4);
  ASSERT_EQ(eval({ids, mask}).code, 0);
  EXPECT_LE(heddle::testing::error_over_std(result("last_hidden_state"), io.at("expected.masked")), 2e-4);
  ASSERT_EQ(eval({embeds, mask, cotangent}).code, 0);
  EXPECT_LE(heddle::testing::error_over_std(result("vjp.inputs_embeds"), io.at("vjp")), 1e-3);
  EXPECT_EQ(eval({ids, cotangent}).code, 2);
  EXPECT_EQ(eval({mask}).code, 2);
}

TEST_F(Command, CtrlCFinishesTheStepAndKeepsThePicture) {
  const std::string path = preset();
  const Outcome outcome =
      run("run " + path + " --set sampler.steps=900 --set size=[64,64] -o long.png & sleep 1; kill -INT $!; wait $!");
  EXPECT_EQ(outcome.code, 5) << outcome.err;
  EXPECT_EQ(outcome.out, "long-cancelled.png\n");
  EXPECT_TRUE(fs::exists(folder_ / "long-cancelled.png"));
  EXPECT_FALSE(fs::exists(folder_ / "long.png"));
}

}  // namespace
