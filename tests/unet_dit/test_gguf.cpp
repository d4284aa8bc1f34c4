// FLUX and SD3 out of GGUF files: forward and gradient against torch with the dequantised weights, LoRAs beside them.
#include <gtest/gtest.h>

#include "io/checkpoint/checkpoint_file.h"
#include "io/lora.h"
#include "kernels/core/tape.h"
#include "tests/support/compare.h"
#include "tests/support/refusal.h"
#include "unet_dit/flux.h"
#include "unet_dit/sd3.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/gguf/";

ComponentSource open(const std::string& name) {
  return open_component(fixtures + name + ".gguf", fixtures + name);
}

Tensor run(const FluxTransformer& network, const Tensor& x, const TensorMap& io, AttentionContext& context) {
  return network.predict({x, io.at("img_ids"), io.at("txt_ids")}, io.at("timestep"),
                         {.text = io.at("encoder_hidden_states"),
                          .text_embeds = io.at("pooled_projections"),
                          .guidance = io.at("guidance")},
                         context);
}

Tensor run(const SD3Transformer& network, const Tensor& x, const TensorMap& io, AttentionContext& context) {
  return network(x, io.at("timestep"),
                 {.text = io.at("encoder_hidden_states"), .text_embeds = io.at("pooled_projections")}, context);
}

template <class Network, class Config>
void expect_parity(const std::string& name) {
  const TensorMap io = read_safetensors(fixtures + name + "_io.safetensors");
  const ComponentSource plain = open(name);
  Network network(Config::from(plain.config), Scope(*plain.weights, DType::f32));
  plain.weights->require_all_used();
  for (const bool checkpointing : {false, true}) {
    network.set_checkpointing(checkpointing);
    Tape tape;
    const Tensor x = tape.watch(io.at("hidden_states"));
    AttentionContext context;  // checkpointed blocks come back to it
    const Tensor out = run(network, x, io, context);
    EXPECT_LE(testing::error_over_std(out.detach(), io.at("expected.sample")), 2e-4);
    EXPECT_LE(testing::error_over_std(tape.gradient(out, x, io.at("cotangent")), io.at("expected.vjp")), 1e-3);
  }
  const ComponentSource base = open(name);
  const LoraFile file(fixtures + name + "_lora.safetensors");
  LoraWeights laid(*base.weights, base.weights->names(), LoraPart::denoiser, {{&file, 0.7}});
  const Network adapted(Config::from(base.config), Scope(laid, DType::f32));
  AttentionContext context;
  EXPECT_LE(testing::error_over_std(run(adapted, io.at("hidden_states"), io, context), io.at("expected.adapted")),
            2e-4);
  EXPECT_GE(testing::error_over_std(io.at("expected.adapted"), io.at("expected.sample")), 1e-2);
}

TEST(Gguf, FluxAgreesWithTorch) {
  expect_parity<FluxTransformer, FluxConfig>("flux");
}
TEST(Gguf, SD3AgreesWithTorch) {
  expect_parity<SD3Transformer, SD3Config>("sd3");
}

TEST(Gguf, AdaptationsThatAreNoTwoThinMatricesAreRefused) {
  const std::string path = ::testing::TempDir() + "heddle_gguf_adaptation.safetensors";
  const std::string layer = "transformer.transformer_blocks.0.attn.to_q";
  const Tensor thin = Tensor::zeros({32, 1}), flat = Tensor::zeros({1, 32});
  const TensorMap lora{{layer + ".lora_up.weight", thin}, {layer + ".lora_down.weight", flat}};
  TensorMap dora = lora;
  dora.emplace(layer + ".dora_scale", Tensor::zeros({32, 1}));
  const TensorMap loha{{layer + ".hada_w1_a", thin},
                       {layer + ".hada_w1_b", flat},
                       {layer + ".hada_w2_a", thin},
                       {layer + ".hada_w2_b", flat}};
  const auto refusal = [&](const TensorMap& tensors) {
    write_safetensors(path, tensors);
    return testing::refusal_of(
        [&] {
          const LoraFile file(path);
          const ComponentSource base = open("sd3");
          LoraWeights laid(*base.weights, base.weights->names(), LoraPart::denoiser, {{&file, 1}});
          SD3Transformer(SD3Config::from(base.config), Scope(laid, DType::f32));
        },
        "", ErrorCode::input);
  };
  EXPECT_NE(refusal(dora).find("over a quantised layer; got a DoRA"), std::string::npos);
  EXPECT_NE(refusal(loha).find("over a quantised layer; got a LoHa"), std::string::npos);
  EXPECT_NE(refusal({{layer + ".diff", Tensor::zeros({32, 32})}}).find("a whole difference"), std::string::npos);
}

// Of what the layouts say, only the axes of FLUX's positions are not those of the published heads.
TEST(Gguf, ConfigurationsAreRead) {
  const ComponentSource sd3 = open_component(fixtures + "sd3.gguf");
  EXPECT_EQ(sd3.config.get<int>("num_attention_heads"), 2);
  EXPECT_EQ(sd3.config.get<std::vector<int>>("dual_attention_layers"), std::vector<int>{0});
  EXPECT_EQ(open_component(fixtures + "flux.gguf").config.get<std::vector<int>>("axes_dims_rope"),
            (std::vector<int>{2, 7, 7}));
}

}  // namespace
}  // namespace heddle
