// LoRA files: halves and scales, layers laid over made weights, names of the original layout, refusals.
#include "io/lora.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "io/json.h"
#include "io/original_names.h"
#include "io/weights.h"
#include "kernels/core/error.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string folder = std::string(HEDDLE_FIXTURES) + "/lora/";

TEST(LoraFile, ReadsHalvesAndScale) {
  const LoraFile kohya(folder + "kohya.safetensors"), peft(folder + "peft_alpha_in_metadata.safetensors");
  EXPECT_TRUE(kohya.layers(LoraPart::text_encoder).empty());
  ASSERT_EQ(kohya.layers(LoraPart::denoiser).size(), peft.layers(LoraPart::denoiser).size());
  for (const auto& [name, layer] : kohya.layers(LoraPart::denoiser)) {
    EXPECT_EQ(name.find('.'), name.npos) << name;
    EXPECT_NEAR(layer.scaling, 5.0 / 3, 1e-6);
  }
  for (const auto& [name, layer] : peft.layers(LoraPart::denoiser)) EXPECT_NEAR(layer.scaling, 5.0 / 3, 1e-6) << name;
}

TEST(LoraFile, ScalesByPatternsAndRoots) {
  const LoraFile file(folder + "peft_patterns.safetensors");
  for (const auto& [name, layer] : file.layers(LoraPart::denoiser)) {
    const double rank = name.ends_with("to_q") ? 2 : 4, alpha = name.ends_with("to_v") ? 7 : 2;
    EXPECT_NEAR(layer.scaling, alpha / std::sqrt(rank), 1e-6) << name;
  }
}

// Every weight of a base, one of which LoRAs change.
class Made final : public WeightSource {
 public:
  explicit Made(TensorMap tensors) : tensors_(std::move(tensors)) {}
  bool has(const std::string& name) const override { return tensors_.contains(name); }
  Tensor take(const std::string& name, const Shape&) override { return tensors_.at(name); }
  Tensor take_any(const std::string& name) override { return tensors_.at(name); }
  void release(const Tensor&) override {}
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : tensors_) out.push_back(name);
    return out;
  }

 private:
  TensorMap tensors_;
};

Tensor counting(const Shape& shape, float step) {
  Tensor x = Tensor::zeros(shape);
  for (int64_t i = 0; i < shape.count(); ++i) x.fill_data<float>()[i] = step * static_cast<float>((7 * i) % 11 - 5);
  return x;
}

std::string written(const TensorMap& tensors) {
  const std::string path = ::testing::TempDir() + "heddle_lora_" + std::to_string(::getpid()) + ".safetensors";
  write_safetensors(path, tensors);
  return path;
}

TEST(LoraWeights, SeveralAddUpAndNoneLeavesNoTrace) {
  Made base({{"a.weight", counting({3, 4}, 0.1f)}});
  const std::string path =
      written({{"unet.a.lora_A.weight", counting({2, 4}, 0.3f)}, {"unet.a.lora_B.weight", counting({3, 2}, 0.2f)}});
  const LoraFile file(path);
  LoraWeights off(base, base.names(), LoraPart::denoiser, {{&file, 0}});
  EXPECT_EQ(off.take("a.weight", {3, 4}).bytes(), base.take("a.weight", {3, 4}).bytes()) << "the very same tensor";
  LoraWeights twice(base, base.names(), LoraPart::denoiser, {{&file, 0.5}, {&file, 0.25}});
  LoraWeights once(base, base.names(), LoraPart::denoiser, {{&file, 0.75}});
  EXPECT_LE(testing::error_over_std(twice.take("a.weight", {3, 4}), once.take("a.weight", {3, 4})), 1e-6);
  const std::vector<float> w = base.take("a.weight", {3, 4}).to_vector(),
                           got = once.take("a.weight", {3, 4}).to_vector();
  const std::vector<float> a = counting({2, 4}, 0.3f).to_vector(), b = counting({3, 2}, 0.2f).to_vector();
  for (size_t i = 0; i < 12; ++i) {
    const float product = b[i / 4 * 2] * a[i % 4] + b[i / 4 * 2 + 1] * a[4 + i % 4];
    EXPECT_NEAR(got[i], w[i] + 0.75f * product, 1e-6);
  }
  std::filesystem::remove(path);
}

// Text encoders are stored with their outermost module and without; files name it always, or never.
TEST(LoraWeights, FindsLayersOfTextEncoders) {
  const Tensor w = counting({3, 4}, 0.1f), a = counting({2, 4}, 0.3f), b = counting({3, 2}, 0.2f);
  for (const std::string stored : {"text_model.encoder.layers.0.fc1.weight", "encoder.layers.0.fc1.weight"}) {
    for (const auto& [down, up] :
         {std::pair("lora_te_text_model_encoder_layers_0_fc1.lora_down.weight",
                    "lora_te_text_model_encoder_layers_0_fc1.lora_up.weight"),
          std::pair("text_encoder.text_model.encoder.layers.0.fc1.lora_linear_layer.down.weight",
                    "text_encoder.text_model.encoder.layers.0.fc1.lora_linear_layer.up.weight"),
          std::pair("text_encoder.encoder.layers.0.fc1.lora_A.weight",
                    "text_encoder.encoder.layers.0.fc1.lora_B.weight")}) {
      Made base({{stored, w}});
      const std::string path = written({{down, a}, {up, b}});
      const LoraFile file(path);
      LoraWeights laid(base, base.names(), LoraPart::text_encoder, {{&file, 1}});
      EXPECT_NE(laid.take(stored, {3, 4}).to_vector(), w.to_vector()) << stored << " " << down;
      std::filesystem::remove(path);
    }
  }
}

TEST(LoraWeights, ConvolutionsInThreeParts) {
  // up [o,r] mid [r,r,kh,kw] down [r,i]: W[o,i,y,x] = sum_pq up[o,p] mid[p,q,y,x] down[q,i]
  Made base({{"c.weight", Tensor::zeros({3, 2, 2, 2})}});
  const Tensor up = counting({3, 2, 1, 1}, 0.2f), mid = counting({2, 2, 2, 2}, 0.3f),
               down = counting({2, 2, 1, 1}, 0.5f);
  const std::string path = written({{"lora_unet_c.lora_up.weight", up},
                                    {"lora_unet_c.lora_mid.weight", mid},
                                    {"lora_unet_c.lora_down.weight", down}});
  const LoraFile file(path);
  LoraWeights laid(base, base.names(), LoraPart::denoiser, {{&file, 1}});
  const std::vector<float> got = laid.take("c.weight", {3, 2, 2, 2}).to_vector(), u = up.to_vector(),
                           m = mid.to_vector(), d = down.to_vector();
  for (size_t o = 0; o < 3; ++o) {
    for (size_t i = 0; i < 2; ++i) {
      for (size_t t = 0; t < 4; ++t) {
        float want = 0;
        for (size_t p = 0; p < 2; ++p) {
          for (size_t q = 0; q < 2; ++q) want += u[o * 2 + p] * m[(p * 2 + q) * 4 + t] * d[q * 2 + i];
        }
        EXPECT_NEAR(got[(o * 2 + i) * 4 + t], want, 1e-5);
      }
    }
  }
  std::filesystem::remove(path);
}

// LyCORIS may learn a length for each input; on a square layer only the shape tells.
TEST(LoraWeights, MagnitudesOfInputsScaleColumns) {
  for (const Shape& shape : {Shape{3, 3}, Shape{3, 3, 2, 1}}) {
    const Tensor w = counting(shape, 0.1f), up = counting({3, 2}, 0.2f);
    Made base({{"a.weight", w}});
    Shape down{2, 3}, magnitude{1, 3};
    if (shape.rank() == 4) down = {2, 3, 2, 1}, magnitude = {1, 3, 1, 1};
    const Tensor lengths = Tensor::from(std::vector<float>{2, 3, 4}, magnitude);
    const std::string path = written({{"lora_unet_a.lora_down.weight", counting(down, 0.3f)},
                                      {"lora_unet_a.lora_up.weight", up},
                                      {"lora_unet_a.dora_scale", lengths}});
    const LoraFile file(path);
    LoraWeights laid(base, base.names(), LoraPart::denoiser, {{&file, 1}});
    const std::vector<float> got = laid.take("a.weight", shape).to_vector();
    const size_t taps = got.size() / 9;
    for (size_t i = 0; i < 3; ++i) {
      double length = 0;
      for (size_t o = 0; o < 3; ++o) {
        for (size_t t = 0; t < taps; ++t) length += std::pow(got[(o * 3 + i) * taps + t], 2);
      }
      EXPECT_NEAR(std::sqrt(length), static_cast<double>(i) + 2, 1e-5) << shape.text();
    }
    std::filesystem::remove(path);
  }
}

std::string refusal(const TensorMap& tensors) {
  const std::string path = written(tensors);
  std::string message;
  try {
    const LoraFile file(path);
    Made base({{"a.weight", counting({3, 4}, 0.1f)}});
    LoraWeights laid(base, base.names(), LoraPart::denoiser, {{&file, 1}});
    laid.take("a.weight", {3, 4});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    message = error.what();
  }
  std::filesystem::remove(path);
  return message;
}

TEST(LoraFile, RefusesWhatItCannotMean) {
  const Tensor down = counting({2, 4}, 1), up = counting({3, 2}, 1);
  EXPECT_EQ(refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", up}}), "");
  EXPECT_NE(refusal({{"a.lora_A.weight", down}}).find("down half alone"), std::string::npos);
  EXPECT_NE(refusal({{"a.lora_B.weight", up}}).find("up half alone"), std::string::npos);
  EXPECT_NE(refusal({{"b.lora_A.weight", down}, {"b.lora_B.weight", up}}).find("a layer of the model"),
            std::string::npos);
  EXPECT_NE(refusal({{"a.weight", up}}).find("a LoRA's tensor"), std::string::npos);
  EXPECT_NE(refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", counting({3, 3}, 1)}}).find("one rank"),
            std::string::npos);
  EXPECT_NE(
      refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", counting({5, 2}, 1)}}).find("matrices for a weight"),
      std::string::npos);
  EXPECT_NE(
      refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.lora_B.bias", counting({3}, 1)}}).find("bias"),
      std::string::npos);
  EXPECT_NE(refusal({{"a.lora_A.weight", counting({2}, 1)}, {"a.lora_B.weight", up}}).find("both halves"),
            std::string::npos);
  EXPECT_NE(refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.dora_scale", counting({7}, 1)}})
                .find("magnitudes"),
            std::string::npos);
  EXPECT_NE(
      refusal({{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.alpha", counting({2}, 1)}}).find("one number"),
      std::string::npos);
}

TEST(LoraFile, RefusesLycorisLayersThatAreNotWhole) {
  const Tensor a = counting({3, 2}, 1), b = counting({2, 4}, 1);
  const TensorMap loha{{"a.hada_w1_a", a}, {"a.hada_w1_b", b}, {"a.hada_w2_a", a}, {"a.hada_w2_b", b}};
  const TensorMap lokr{{"a.lokr_w1", counting({3, 2}, 1)}, {"a.lokr_w2", counting({1, 2}, 1)}};
  const auto refused = [](TensorMap tensors, const TensorMap& changes, const std::string& wanted) {
    for (const auto& [name, tensor] : changes) {
      tensors.erase(name);
      if (tensor.defined()) tensors.emplace(name, tensor);
    }
    const std::string got = refusal(tensors);
    EXPECT_NE(got.find(wanted), std::string::npos) << "wanted " << wanted << ", got " << got;
    EXPECT_EQ(got.find('\n'), std::string::npos);
  };
  EXPECT_EQ(refusal(loha), "");
  EXPECT_EQ(refusal(lokr), "");
  refused(loha, {{"a.hada_w2_b", {}}}, "its a half alone");
  refused(loha, {{"a.hada_w2_b", {}}, {"a.hada_w2_a", {}}}, "neither half");
  refused(loha, {{"a.hada_w2_b", counting({3, 4}, 1)}}, "halves of one rank");
  refused(loha, {{"a.hada_w2_b", counting({2, 5}, 1)}}, "two products of one shape");
  refused(loha, {{"a.hada_t1", counting({2, 2, 1, 1}, 1)}}, "halves of one rank");
  refused(loha, {{"a.hada_t1", counting({2, 2}, 1)}}, "halves of one rank");
  refused(loha, {{"a.hada_w1_a", counting({4, 2}, 1)}, {"a.hada_w2_a", counting({4, 2}, 1)}}, "matrices for a weight");
  refused(loha, {{"a.lora_A.weight", b}}, "one kind of adaptation");
  refused(lokr, {{"a.lokr_w1", counting({3}, 1)}}, "matrices or convolutions");
  refused(lokr, {{"a.lokr_w1_a", a}}, "whole or in halves");
  refused(lokr, {{"a.lokr_w2", {}}}, "neither half");
  refused(lokr, {{"a.lokr_w2", counting({2, 2}, 1)}}, "matrices for a weight [3, 4]; got [6, 4]");
  refused({}, {{"a.alpha", counting({1}, 1)}}, "neither half");
  refused({}, {{"a.diff", counting({4, 3}, 1)}}, "matrices for a weight");
  refused({}, {{"a.diff", counting({0, 4}, 1)}}, "a difference");
  refused({}, {{"a.diff", counting({}, 1)}}, "a difference");
  refused({}, {{"a.diff_b", counting({}, 1)}}, "numbers along an axis");
  refused(loha, {{"a.dora_scale", counting({}, 1)}}, "numbers along an axis");
  refused({}, {{"a.diff_b", counting({3}, 1)}}, "no bias for a layer without one");
  refused(loha, {{"a.dora_scale", counting({7}, 1)}}, "magnitudes");
}

TEST(LoraFile, FactorsOfBlocksAndPiecesMeetDora) {
  // A LoKr with magnitudes: LyCORIS' weight decomposition of any kind of difference.
  const Tensor w = counting({4, 4}, 0.1f), w1 = counting({2, 2}, 0.3f), w2 = counting({2, 2}, 0.2f);
  Made base({{"a.weight", w}});
  const std::string path = written({{"lora_unet_a.lokr_w1", w1},
                                    {"lora_unet_a.lokr_w2", w2},
                                    {"lora_unet_a.dora_scale", Tensor::from(std::vector<float>{1, 2, 3, 4}, {4, 1})}});
  const LoraFile file(path);
  LoraWeights laid(base, base.names(), LoraPart::denoiser, {{&file, 1}});
  const std::vector<float> got = laid.take("a.weight", {4, 4}).to_vector();
  for (size_t o = 0; o < 4; ++o) {
    double length = 0, direction = 0, norm = 0;
    for (size_t i = 0; i < 4; ++i) {
      const float sum =
          w.to_vector()[o * 4 + i] + w1.to_vector()[o / 2 * 2 + i / 2] * w2.to_vector()[o % 2 * 2 + i % 2];
      length += std::pow(got[o * 4 + i], 2), norm += sum * sum, direction += sum * got[o * 4 + i];
    }
    EXPECT_NEAR(std::sqrt(length), static_cast<double>(o) + 1, 1e-5);
    EXPECT_NEAR(direction, std::sqrt(length * norm), 1e-5);
  }
  std::filesystem::remove(path);
}

TEST(OriginalNames, AsDiffusersMapsThem) {
  const Json names = Json::read(folder + "original_names.json");
  EXPECT_GE(names.keys().size(), 40u);
  for (const std::string& ours : names.keys())
    EXPECT_EQ(original_unet_layer(ours, true), names.get<std::string>(ours)) << ours;
  EXPECT_EQ(original_unet_layer("up_blocks.0.upsamplers.0.conv", false), "output_blocks.2.1.conv");
  EXPECT_EQ(original_unet_layer("up_blocks.1.upsamplers.0.conv", true), "output_blocks.5.2.conv");
  EXPECT_EQ(original_unet_layer("conv_in", true), "input_blocks.0.0");
  EXPECT_EQ(original_unet_layer("time_embedding.linear_2", true), "time_embed.2");
  for (const char* none :
       {"", "up_blocks", "up_blocks.x.resnets.0.conv1", "down_blocks.99999999999.resnets.0.conv1", "a.b.c.d.e"})
    EXPECT_FALSE(original_unet_layer(none, true)) << none;
}

}  // namespace
}  // namespace heddle
