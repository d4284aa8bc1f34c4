// Safetensors in and out, shards, and the account of used weights.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "io/weights.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

Tensor ramp(const Shape& shape, float first = 0) {
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  return Tensor::from(std::span<const float>(values), shape);
}

std::string raw_file(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST(Safetensors, RoundTripKeepsValuesNamesAndMetadata) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.safetensors");
  const int64_t ids[] = {1, -2, 1'000'000'000'000};
  TensorMap tensors{{"w", ramp({2, 3})},
                    {"scalar", ramp({}, 5)},
                    {"ids", Tensor::from(std::span<const int64_t>(ids), {3})},
                    {"half", Tensor::full({3}, 1.5f, DType::f16)},
                    {"brain", Tensor::full({1, 1}, -2.5f, DType::bf16)},
                    {"none", Tensor::zeros({0, 4})}};
  write_safetensors(path, tensors, {{"format", "pt"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.entries().size(), 6u);
  EXPECT_EQ(file.read("w").to_vector(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(file.read("w").shape(), (Shape{2, 3}));
  EXPECT_EQ(file.read("scalar").item(), 5);
  EXPECT_EQ(file.read("ids").to_ids(), (std::vector<int64_t>{1, -2, 1'000'000'000'000}));
  EXPECT_EQ(file.read("half").dtype(), DType::f16);
  EXPECT_EQ(file.read("half").to_vector(), (std::vector<float>{1.5f, 1.5f, 1.5f}));
  EXPECT_EQ(file.read("brain").to_vector(), (std::vector<float>{-2.5f}));
  EXPECT_EQ(file.read("none").count(), 0);
}

TEST(Safetensors, AViewIsWrittenDense) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.safetensors");
  write_safetensors(path, {{"t", ramp({2, 3}).view({3, 2}, {1, 3}, 0)}});
  EXPECT_EQ(read_safetensors(path).at("t").to_vector(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(Safetensors, OtherTypesAreConverted) {
  const TemporaryFolder folder;
  std::string data;
  const auto put = [&](auto value) { data.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  put(double{0.5});
  put(int32_t{-7});
  put(int16_t{-300});
  put(int8_t{-3});
  put(uint8_t{200});
  put(uint8_t{1});
  const std::string header = R"({"f64":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},
    "i32":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}, "i16":{"dtype":"I16","shape":[1],"data_offsets":[12,14]},
    "i8":{"dtype":"I8","shape":[1],"data_offsets":[14,15]}, "u8":{"dtype":"U8","shape":[1],"data_offsets":[15,16]},
    "b":{"dtype":"BOOL","shape":[1],"data_offsets":[16,17]}})";
  const SafetensorsFile file(folder.write("a.safetensors", raw_file(header, data)));
  EXPECT_EQ(file.read("f64").item(), 0.5f);
  EXPECT_EQ(file.read("f64").dtype(), DType::f32);
  EXPECT_EQ(file.read("i32").to_ids()[0], -7);
  EXPECT_EQ(file.read("i16").to_ids()[0], -300);
  EXPECT_EQ(file.read("i8").to_ids()[0], -3);
  EXPECT_EQ(file.read("u8").to_ids()[0], 200);
  EXPECT_EQ(file.read("b").to_ids()[0], 1);
}

TEST(Safetensors, ATensorAtAnOddPlaceIsCopied) {
  const TemporaryFolder folder;
  const float value = 3.25f;
  std::string data(1, 'x');
  data.append(reinterpret_cast<const char*>(&value), 4);
  const std::string header =
      R"({"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"f":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  const SafetensorsFile file(folder.write("a.safetensors", raw_file(header, data)));
  const Tensor f = file.read("f");
  EXPECT_EQ(f.item(), 3.25f);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(f.bytes()) % 4, 0u);
}

TEST(Safetensors, EightBitFloatsAreTheNumbersThatTorchSees) {
  const TensorMap file = read_safetensors(std::string(HEDDLE_FIXTURES) + "/checkpoints/eight_bits.safetensors");
  for (const std::string name : {"e4m3", "e5m2"}) {
    EXPECT_EQ(file.at(name).dtype(), DType::bf16);
    const std::vector<float> got = file.at(name).to_vector(), want = file.at(name + ".wanted").to_vector();
    ASSERT_EQ(got.size(), 256u);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]))) << name << " " << i;
  }
}

TEST(Safetensors, ATypeThatIsNotReadIsNamed) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("a.safetensors", raw_file(R"({"w":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}})", "ab"));
  const std::string text = error_of(ErrorCode::input, [&] { read_safetensors(path); });
  EXPECT_NE(text.find("a.safetensors w]"), std::string::npos) << text;
  EXPECT_NE(text.find("F8_E8M0"), std::string::npos) << text;
}

TEST(Safetensors, TheMapOutlivesTheFileObject) {
  const TemporaryFolder folder;
  Tensor kept;
  {
    const std::string path = folder.path("a.safetensors");
    write_safetensors(path, {{"w", ramp({4})}});
    kept = SafetensorsFile(path).read("w");
  }
  EXPECT_EQ(kept.to_vector(), (std::vector<float>{0, 1, 2, 3}));
}

class Shards : public ::testing::Test {
 protected:
  Shards() {
    write_safetensors(folder.path("model-1.safetensors"), {{"a", ramp({2})}, {"extra", ramp({1})}});
    write_safetensors(folder.path("model-2.safetensors"), {{"b", ramp({3})}});
  }
  std::string index(const nlohmann::json& map) {
    return folder.write("model.safetensors.index.json",
                        nlohmann::json{{"metadata", {{"total_size", 20}}}, {"weight_map", map}}.dump());
  }
  std::string why(const nlohmann::json& map) {
    const std::string path = index(map);
    return error_of(ErrorCode::input, [&] { SafetensorsSet set(path); });
  }
  TemporaryFolder folder;
};

TEST_F(Shards, AreOneSetOfNames) {
  index({{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}});
  Weights weights(folder.root());
  EXPECT_EQ(weights.take("a", {2}).to_vector(), (std::vector<float>{0, 1}));
  EXPECT_EQ(weights.take("b", {3}).to_vector(), (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(weights.unused(), (std::vector<std::string>{"extra"}));
}

TEST_F(Shards, FaultsAreNamed) {
  EXPECT_NE(why({{"a", "model-9.safetensors"}}).find("model-9.safetensors] wanted a readable file"), std::string::npos);
  EXPECT_NE(why({{"a", "model-2.safetensors"}}).find("wanted the tensor \"a\" in model-2.safetensors"),
            std::string::npos);
  for (const char* name :
       {"../model-1.safetensors", "/etc/passwd", "sub/model-1.safetensors", "..\\x.safetensors", "", "model.bin"}) {
    EXPECT_NE(why({{"a", name}}).find("of the same folder"), std::string::npos) << name;
  }
  EXPECT_NE(why({{"a", 3}}).find("wanted text"), std::string::npos);
  EXPECT_NE(why(3).find("wanted an object"), std::string::npos);
}

TEST(Weights, ErrorsNameTensorWantedAndGot) {
  const TemporaryFolder folder;
  const std::string path = folder.path("diffusion_pytorch_model.safetensors");
  write_safetensors(path, {{"conv_in.weight", ramp({4, 2})}, {"conv_out.bias", ramp({1})}});
  Weights weights(folder.root());
  EXPECT_TRUE(weights.has("conv_in.weight"));
  EXPECT_EQ(
      error_of(ErrorCode::input,
               [&] {
                 weights.take("conv_in.weight", {2, 4});
               }),
      "[" + path + " conv_in.weight] wanted shape [2, 4]; got [4, 2]; try the weights that belong to this config.json");
  EXPECT_NE(
      error_of(ErrorCode::input,
               [&] {
                 weights.take("conv_in.weigth", {4, 2});
               })
          .find("wanted the tensor \"conv_in.weigth\"; got none of that name (the nearest is \"conv_in.weight\")"),
      std::string::npos);
  const Tensor taken = weights.take("conv_in.weight", {4, 2});
  weights.release(taken);
  EXPECT_EQ(taken.to_vector()[7], 7);
  EXPECT_NE(error_of(ErrorCode::input, [&] { weights.require_all_used(); }).find("1 more: conv_out.bias"),
            std::string::npos);
  weights.take_any("conv_out.bias");
  weights.require_all_used();
}

TEST(Weights, FindsThePlainFileBeforeTheVariant) {
  const TemporaryFolder folder;
  folder.write("model.fp16.safetensors", "");
  EXPECT_EQ(find_weights(folder.root()), folder.path("model.fp16.safetensors"));
  folder.write("model.safetensors.index.json", "");
  EXPECT_EQ(find_weights(folder.root()), folder.path("model.safetensors.index.json"));
  folder.write("diffusion_pytorch_model.safetensors", "");
  EXPECT_EQ(find_weights(folder.root()), folder.path("diffusion_pytorch_model.safetensors"));
}

TEST(Weights, PicklesAreToBeConverted) {
  const TemporaryFolder folder;
  folder.write("diffusion_pytorch_model.bin", "x");
  const std::string text = error_of(ErrorCode::input, [&] { Weights weights(folder.root()); });
  EXPECT_NE(text.find("diffusion_pytorch_model.bin; try converting the checkpoint to safetensors"), std::string::npos)
      << text;
  EXPECT_NE(error_of(ErrorCode::input, [&] { Weights weights(folder.path("none/")); }).find("got none there"),
            std::string::npos);
}

}  // namespace
}  // namespace heddle::testing
