// The detector against its Python original: answers, what is read from them, and refusals.
#include "judge/judge.h"

#include <gtest/gtest.h>

#include <unistd.h>
#include <filesystem>

#include "io/file.h"
#include "io/safetensors.h"
#include "io/weights.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;
using testing::error_over_std;

const std::string folder = std::string(HEDDLE_FIXTURES) + "/judge";

Image picture_of(const TensorMap& io, int64_t row) {
  const Tensor& pictures = io.at("pictures");  // bytes [2,3,128,128], read as whole numbers
  Image image{.width = 128, .height = 128};
  image.pixels.resize(128 * 128 * 3);
  const int64_t* from = pictures.data<int64_t>() + row * 3 * 128 * 128;
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < 128 * 128; ++i) image.pixels[i * 3 + c] = static_cast<uint8_t>(from[c * 128 * 128 + i]);
  }
  return image;
}

Tensor input_of(const TensorMap& io) {
  Tensor x = Tensor::zeros({2, 128, 128, 3});
  for (int64_t row = 0; row < 2; ++row) {
    const Image image = picture_of(io, row);
    for (size_t i = 0; i < image.pixels.size(); ++i)
      x.fill_data<float>()[static_cast<size_t>(row) * image.pixels.size() + i] = image.pixels[i] / 127.5f - 1;
  }
  return x;
}

struct Loaded {
  JudgeConfig config = JudgeConfig::from(Json::read(folder + "/model/config.json"));
  Weights weights{folder + "/model"};
  Detector detector{config, Scope(weights, DType::f32)};
};

TEST(Judge, AnswersAsItsOriginal) {
  const TensorMap io = read_safetensors(folder + "/answers.safetensors");
  const Loaded loaded;
  loaded.weights.require_all_used();
  const JudgeAnswers answers = loaded.detector(input_of(io));
  EXPECT_LE(error_over_std(reshape(answers.centre, {2, 16, 16}), io.at("centre")), 2e-4);
  EXPECT_LE(error_over_std(answers.sides, io.at("sides")), 2e-4);
  EXPECT_LE(error_over_std(answers.subject, io.at("subject")), 2e-4);
  EXPECT_LE(error_over_std(answers.colour, io.at("colour")), 2e-4);
  EXPECT_LE(error_over_std(answers.background, io.at("background")), 2e-4);
}

TEST(Judge, ReadsAnswersAsItsOriginal) {
  const TensorMap io = read_safetensors(folder + "/answers.safetensors");
  JudgeConfig config = JudgeConfig::from(Json::read(folder + "/model/config.json"));
  config.centre_threshold = 0.2;
  config.overlap_threshold = 0.3;
  const JudgeAnswers answers{reshape(io.at("centre"), {2, 16, 16, 1}), io.at("sides"), io.at("subject"),
                             io.at("colour"), io.at("background")};
  for (const Json& want : Json::read(folder + "/verdicts.json").as<std::vector<Json>>()) {
    config.name_threshold = want.get<double>("name_threshold");
    const SeenPicture seen = read_answers(answers, want.get<int64_t>("picture"), config);
    EXPECT_EQ(seen.background, want.get<std::string>("background"));
    const auto objects = want.get<std::vector<Json>>("objects");
    ASSERT_EQ(seen.objects.size(), objects.size());
    for (size_t i = 0; i < objects.size(); ++i) {
      EXPECT_EQ(seen.objects[i].subject, objects[i].get<std::string>("subject")) << i;
      EXPECT_EQ(seen.objects[i].colour, objects[i].get<std::string>("colour")) << i;
      EXPECT_NEAR(seen.objects[i].confidence, objects[i].get<double>("confidence"), 1e-5);
      const auto box = objects[i].get<std::vector<double>>("box");
      for (size_t k = 0; k < 4; ++k) EXPECT_NEAR(seen.objects[i].box[k], box[k], 1e-3);
    }
  }
}

TEST(Judge, BoxesStayInPixelsOfTheirPicture) {
  const TensorMap io = read_safetensors(folder + "/answers.safetensors");
  const Judge judge(folder + "/model");
  const Image small = picture_of(io, 1);
  Image wide{.width = 256, .height = 128};  // the same picture, each column twice
  for (size_t y = 0; y < 128; ++y) {
    for (size_t x = 0; x < 256; ++x) {
      for (size_t c = 0; c < 3; ++c) wide.pixels.push_back(small.pixels[(y * 128 + x / 2) * 3 + c]);
    }
  }
  const SeenPicture narrow_seen = judge(small), wide_seen = judge(wide);
  ASSERT_FALSE(wide_seen.objects.empty());
  double right = 0;
  for (const SeenObject& o : wide_seen.objects) right = std::max(right, o.box[2]);
  EXPECT_GT(right, 128);
  EXPECT_LE(right, 256);
}

TEST(Judge, IsDifferentiable) {
  const TensorMap io = read_safetensors(folder + "/answers.safetensors");
  const Loaded loaded;
  const Tensor at = input_of(io);
  Tape tape;
  const Tensor x = tape.watch(at);
  const Tensor gradient = tape.gradient(mean(loaded.detector(x).subject), x);
  const double step = 1e-2;
  const Tensor ahead = add(at, scale(gradient, step)), behind = add(at, scale(gradient, -step));
  const auto value = [&](const Tensor& z) {
    return static_cast<double>(mean(loaded.detector(z).subject).data<float>()[0]);
  };
  const double want = static_cast<double>(sum(square(gradient)).data<float>()[0]);
  EXPECT_NEAR((value(ahead) - value(behind)) / (2 * step) / want, 1, 0.05);
}

std::string refusal(const std::string& config) {
  try {
    JudgeConfig::from(Json::parse(config, "config.json"));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "";
}

TEST(Judge, RefusesBrokenConfigurations) {
  const std::string names = R"("subjects": ["a"], "colours": ["b"], "backgrounds": ["c"])";
  EXPECT_EQ(refusal(R"({"channels": [8,8,8,8], "blocks": [0,0,0,0], )" + names + "}"), "");
  const std::vector<std::string> broken{
      R"({})",
      R"({"channels": [8,8,8], "blocks": [0,0,0,0], )" + names + "}",
      R"({"channels": [8,8,8,12], "blocks": [0,0,0,0], )" + names + "}",
      R"({"channels": [8,8,8,8], "blocks": [0,0,0,1000], )" + names + "}",
      R"({"channels": [8,8,8,8], "blocks": [0,0,0,0], "picture": 130, )" + names + "}",
      R"({"channels": [8,8,8,8], "blocks": [0,0,0,0], "subjects": [], "colours": ["b"], "backgrounds": ["c"]})",
      R"({"channels": [8,8,8,8], "blocks": [0,0,0,0], "thresholds": {"centre": 2}, )" + names + "}",
      R"({"channels": [8,8,8,8], "blocks": [0,0,0,0], "colour": 1, )" + names + "}"};
  for (const std::string& config : broken) EXPECT_NE(refusal(config), "") << config;
}

TEST(Judge, RefusesWeightsOfAnotherShape) {
  const std::string other = ::testing::TempDir() + "heddle_judge_" + std::to_string(::getpid());
  fs::create_directories(other);
  fs::copy_file(folder + "/model/model.safetensors", other + "/model.safetensors",
                fs::copy_options::overwrite_existing);
  std::string config = read_file(folder + "/model/config.json", 1 << 20);
  const size_t at = config.find("\"grass\",");
  ASSERT_NE(at, std::string::npos);
  write_file(other + "/config.json", config.erase(at, 8));
  EXPECT_THROW(Judge{other}, Error);
  fs::remove_all(other);
}

}  // namespace
}  // namespace heddle
