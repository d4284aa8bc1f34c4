// T5 encoders out of GGUF files in llama.cpp's layout: states as transformers' with the dequantised weights, LoRAs
// beside them, the configuration that the shapes tell.
#include <gtest/gtest.h>

#include "encoders/text_t5.h"
#include "io/checkpoint/checkpoint_file.h"
#include "io/lora.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/gguf/";

Tensor states(const std::string& name, const Tensor& ids, const std::vector<AskedLora>& loras = {},
              DType compute = DType::f32) {
  const ComponentSource from = open_component(fixtures + name + ".gguf");
  LoraWeights laid(*from.weights, from.weights->names(), LoraPart::text_encoder_3, loras);
  const T5Text text(T5TextConfig::from(from.config), Scope(laid, compute));
  from.weights->require_all_used();
  AttentionContext context;
  return text(ids, {}, context);
}

// "t5" has a gated feed-forward, "t5_plain" the plain one.
TEST(GgufT5, StatesAreThoseOfTheDequantisedWeights) {
  for (const std::string name : {"t5", "t5_plain"}) {
    const TensorMap io = read_safetensors(fixtures + name + "_io.safetensors");
    const Tensor &ids = io.at("input_ids"), &plain = io.at("expected.states"), &adapted = io.at("expected.adapted");
    EXPECT_LE(testing::error_over_std(states(name, ids), plain), 2e-4) << name;
    const LoraFile file(fixtures + name + "_lora.safetensors");
    EXPECT_LE(testing::error_over_std(states(name, ids, {{&file, 0.7}}), adapted), 2e-4) << name;
    EXPECT_GE(testing::error_over_std(adapted, plain), 1e-2) << name;
    EXPECT_EQ(states(name, ids, {{&file, 0}}).to_vector(), states(name, ids).to_vector()) << name;
  }
}

TEST(GgufT5, ItsTableOfTokensIsAdaptedToo) {
  const std::string path = ::testing::TempDir() + "heddle_t5_table.safetensors";
  write_safetensors(path, {{"text_encoder_3.shared.lora_A.weight", Tensor::full({1, 256}, 1)},
                           {"text_encoder_3.shared.lora_B.weight", Tensor::full({60, 1}, 1)}});
  const LoraFile file(path);
  const Tensor ids = read_safetensors(fixtures + "t5_io.safetensors").at("input_ids");
  EXPECT_GE(testing::error_over_std(states("t5", ids, {{&file, 1}}), states("t5", ids)), 1e-2);
}

TEST(GgufT5, ItsConfigurationIsRead) {
  const ComponentSource gated = open_component(fixtures + "t5.gguf"),
                        plain = open_component(fixtures + "t5_plain.gguf");
  for (const auto& [key, want] : std::map<std::string, int>{{"vocab_size", 60},
                                                            {"d_model", 256},
                                                            {"d_kv", 16},
                                                            {"d_ff", 256},
                                                            {"num_layers", 2},
                                                            {"num_heads", 2},
                                                            {"relative_attention_num_buckets", 32}})
    EXPECT_EQ(gated.config.get<int>(key), want) << key;
  EXPECT_EQ(gated.config.get<std::string>("feed_forward_proj"), "gated-gelu");
  EXPECT_EQ(plain.config.get<std::string>("feed_forward_proj"), "relu");
  EXPECT_EQ(plain.config.get<int>("d_kv"), 32);
}

TEST(GgufT5, IdsOutsideItsTableAreRefused) {
  for (const int64_t id : {-1, 60}) {
    try {
      states("t5", Tensor::from(std::vector<int64_t>{1, id}, {1, 2}));
      FAIL() << id;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      EXPECT_NE(std::string(error.what()).find("ids in 0..59; got " + std::to_string(id)), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace heddle
