// Activations and the gated GELU against their formulas in double.
#include "kernels/ops/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/instruction_sets.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle {
namespace {

using testing::Array;

double gelu(double x) {
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}

double formula(double x, Activation kind) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::mish:
      return x * std::tanh(std::log1p(std::exp(x)));
  }
  return 0;
}

constexpr Activation kinds[] = {Activation::silu, Activation::gelu,    Activation::gelu_tanh, Activation::quick_gelu,
                                Activation::relu, Activation::sigmoid, Activation::tanh,      Activation::mish};

TEST(Activation, EachKindAndItsSlope) {
  testing::on_each_instruction_set([] {
    for (const Activation kind : kinds) {
      testing::check({.name = "activation " + std::to_string(static_cast<int>(kind)),
                      .inputs = {{5, 13}},
                      .op = [kind](const auto& x) { return activate(x[0], kind); },
                      .oracle =
                          [kind](const auto& x) {
                            Array y = x[0];
                            for (double& v : y.values) v = formula(v, kind);
                            return y;
                          },
                      .low = -6,
                      .high = 6});
    }
  });
}

// Error in units of the value's last place, or of 1e-7 where the value is small against x: over all that nets produce.
TEST(Activation, AccurateOverTheWholeRange) {
  std::vector<float> xs;
  for (double x = -30; x <= 30; x += 0.00713) xs.push_back(static_cast<float>(x));
  const Tensor x = Tensor::from(std::span<const float>(xs), {static_cast<int64_t>(xs.size())});
  testing::on_each_instruction_set([&] {
    for (const Activation kind : kinds) {
      const std::vector<float> y = activate(x, kind).to_vector();
      for (size_t i = 0; i < xs.size(); ++i) {
        const double want = formula(xs[i], kind);
        ASSERT_NEAR(y[i], want, 4e-7 * std::max(1.0, std::abs(want)) + 1e-30)
            << "kind " << static_cast<int>(kind) << " at " << xs[i];
      }
    }
  });
}

TEST(Activation, ExtremesStayFinite) {
  const Tensor x = Tensor::from(std::vector<float>{-3e38f, -1e4f, -100, 0, 100, 1e4f, 3e38f}, {7});
  for (const Activation kind : kinds) {
    for (const float v : activate(x, kind).to_vector()) EXPECT_TRUE(std::isfinite(v)) << static_cast<int>(kind);
  }
  const Tensor nan = Tensor::full({3}, std::nanf(""));
  for (const Activation kind : kinds) {
    for (const float v : activate(nan, kind).to_vector()) EXPECT_TRUE(std::isnan(v)) << static_cast<int>(kind);
  }
  EXPECT_EQ(activate(x, Activation::silu).to_vector()[1], 0.0f);
  EXPECT_EQ(activate(x, Activation::gelu).to_vector()[5], 1e4f);
}

TEST(Activation, LengthsAndMisalignments) {
  const Array all{{300}, testing::normals(4, 300)};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = testing::to_tensor(all, dtype);
    const std::vector<float> want = activate(x, Activation::gelu).to_vector();
    for (const int64_t begin : {0, 1, 3, 8, 15}) {
      for (const int64_t length : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100}) {
        const std::vector<float> got = activate(slice(x, 0, begin, begin + length), Activation::gelu).to_vector();
        ASSERT_EQ(got, std::vector<float>(want.begin() + begin, want.begin() + begin + length));
      }
    }
  }
}

TEST(Geglu, GatesTheFirstHalfByTheSecond) {
  testing::on_each_instruction_set([] {
    for (const int64_t half : {1, 5, 16, 21}) {
      testing::check({.name = "geglu",
                      .inputs = {{2, 3, 2 * half}},
                      .op = [](const auto& x) { return geglu(x[0]); },
                      .oracle =
                          [half](const auto& x) {
                            Array y{{2, 3, half}, std::vector<double>(static_cast<size_t>(6 * half))};
                            for (int64_t i = 0; i < 6 * half; ++i) {
                              const int64_t at = i / half * 2 * half + i % half;
                              y[i] = x[0][at] * gelu(x[0][at + half]);
                            }
                            return y;
                          },
                      .magnitude = 2});
    }
  });
}

TEST(Activation, Names) {
  EXPECT_EQ(activation_named("swish", "x"), Activation::silu);
  EXPECT_EQ(activation_named("gelu_new", "x"), Activation::gelu_tanh);
  EXPECT_EQ(activation_named("quick_gelu", "x"), Activation::quick_gelu);
  try {
    activation_named("quik_gelu", "config.json hidden_act");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_NE(std::string(e.what()).find("quick_gelu"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("config.json hidden_act"), std::string::npos) << e.what();
  }
}

TEST(Activation, RefusesWhatDoesNotFit) {
  EXPECT_THROW(activate(Tensor::zeros({2}, DType::i64), Activation::silu), Error);
  EXPECT_THROW(geglu(Tensor::zeros({2, 3})), Error);
}

}  // namespace
}  // namespace heddle
