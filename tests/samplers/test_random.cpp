// Random normals against torch's, element by element, and Philox against Random123's published vectors.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "samplers/random.h"

namespace heddle {
namespace {

nlohmann::json fixture(const std::string& name) {
  std::ifstream file(std::string(HEDDLE_FIXTURES) + "/samplers/" + name);
  return nlohmann::json::parse(file);
}

// The first and last 20 elements where there are more than 40.
std::vector<float> some(const Tensor& x) {
  std::vector<float> all = x.to_vector();
  if (all.size() <= 40) return all;
  std::vector<float> ends(all.begin(), all.begin() + 20);
  ends.insert(ends.end(), all.end() - 20, all.end());
  return ends;
}

TEST(TorchCpuGenerator, EqualsTorchBitForBit) {
  const nlohmann::json cases = fixture("normals.json");
  ASSERT_GT(cases.size(), 100u);
  for (const auto& test : cases) {
    const std::string dtype_name = test["dtype"];
    const DType dtype = dtype_name == "float32" ? DType::f32 : dtype_name == "bfloat16" ? DType::bf16 : DType::f16;
    TorchCpuGenerator generator(std::stoull(test["seed"].get<std::string>()));
    const int64_t size = test["size"];
    double sum = 0;
    for (size_t call = 0; call < 3; ++call) {
      const Tensor x = generator.randn({call < 2 ? size : 3}, dtype);
      EXPECT_EQ(x.dtype(), dtype);
      if (call == 0)
        for (float v : x.to_vector()) sum += std::abs(static_cast<double>(v));
      const std::vector<float> got = some(x);
      const std::vector<double> wanted = test["calls"][call];
      ASSERT_EQ(got.size(), wanted.size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i], static_cast<float>(wanted[i]))
            << dtype_name << " seed " << test["seed"] << " size " << size << " call " << call << " element " << i;
      }
    }
    EXPECT_NEAR(sum, test["sum"].get<double>(), 1e-12 * sum);
  }
}

TEST(TorchCpuGenerator, ShapeDoesNotMatterButCountDoes) {
  TorchCpuGenerator a(7), b(7);
  EXPECT_EQ(a.randn({4, 3, 5}, DType::f32).to_vector(), b.randn({60}, DType::f32).to_vector());
}

// kat_vectors of Random123: philox4x32, 10 rounds.
TEST(Philox, EqualsPublishedVectors) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// What torch.randn((3, 4), device="cuda") is known to give for seed 0.
TEST(TorchCudaGenerator, EqualsKnownNormals) {
  const std::vector<float> wanted{-0.92466259f, -0.42534415f, -2.6438457f,  0.14518388f,  -0.12086647f, -0.57972564f,
                                  -0.62285122f, -0.32838709f, -1.07454231f, -0.36314407f, -1.67105067f, 2.26550497f};
  TorchCudaGenerator generator(0);
  const std::vector<float> got = generator.randn({3, 4}, DType::f32).to_vector();
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 2e-6) << i;
}

// Thread n draws quadruples of its own subsequence and serves elements n, n + threads, ...
TEST(TorchCudaGenerator, LaysLargeTensorsOutInStrides) {
  const int64_t threads = 512, count = 512 * 5 + 3;
  TorchCudaGenerator wide(9), narrow(9, threads);
  const std::vector<float> first = wide.randn({threads}, DType::f32).to_vector();
  const std::vector<float> laid = narrow.randn({count}, DType::f32).to_vector();
  for (int64_t i = 0; i < threads; ++i) EXPECT_EQ(laid[i], first[i]);  // the first of each quadruple
  // The fifth stride comes from the second quadruple, which the wide generator draws in its second call.
  const std::vector<float> second = wide.randn({threads}, DType::f32).to_vector();
  for (int64_t i = 0; i < threads; ++i) EXPECT_EQ(laid[4 * threads + i], second[i]);
  // Two quadruples are used up: the next call of the narrow one is the third of the wide one.
  EXPECT_EQ(narrow.randn({threads}, DType::f32).to_vector(), wide.randn({threads}, DType::f32).to_vector());
  double sum = 0, squares = 0;
  for (float v : laid) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  EXPECT_NEAR(sum / count, 0, 0.08);
  EXPECT_NEAR(squares / count, 1, 0.12);
}

TEST(Generators, UnknownNameIsAUsageError) {
  try {
    make_generator("torch-mps", 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
  }
}

}  // namespace
}  // namespace heddle
