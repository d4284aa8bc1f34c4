// Autoencoders of every kind against diffusers: both ways, gradients, bf16, tiles, refusals.
#include "encoders/vae_kl.h"

#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"
#include "tests/support/network.h"

namespace heddle {
namespace {

using testing::error_over_std;

std::string folder_of(const std::string& name) {
  return std::string(HEDDLE_FIXTURES) + "/encoders/vae/" + name;
}

std::unique_ptr<VaeKl> load(const std::string& name, DType compute) {
  return testing::load_network<VaeKl, VaeConfig>(folder_of(name), compute);
}

class VaeParity : public ::testing::TestWithParam<std::string> {};

TEST_P(VaeParity, encodes_as_diffusers_with_its_gradient) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto vae = load(GetParam(), DType::f32);
  for (const bool checkpointing : {false, true}) {
    vae->set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;
    const Tensor sample = tape.watch(io.at("sample"));
    const LatentNormal out = vae->encode(sample, context);
    EXPECT_LE(error_over_std(out.mean, io.at("mean")), 2e-4);
    EXPECT_LE(error_over_std(out.logvar, io.at("logvar")), 2e-4);
    const Tensor outputs[] = {out.mean, out.logvar},
                 cotangents[] = {io.at("cotangent_mean"), io.at("cotangent_logvar")};
    EXPECT_LE(error_over_std(tape.gradients(outputs, cotangents, {&sample, 1})[0], io.at("vjp_sample")), 1e-3);
  }
}

TEST_P(VaeParity, decodes_as_diffusers_with_its_gradient) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto vae = load(GetParam(), DType::f32);
  for (const bool checkpointing : {false, true}) {
    vae->set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;
    const Tensor latent = tape.watch(io.at("latent"));
    const Tensor out = vae->decode(latent, context);
    EXPECT_LE(error_over_std(out, io.at("decoded")), 2e-4);
    EXPECT_LE(error_over_std(tape.gradient(out, latent, io.at("cotangent_decoded")), io.at("vjp_latent")), 1e-3);
  }
}

TEST_P(VaeParity, bf16_is_no_worse_than_three_times_torch) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto vae = load(GetParam(), DType::bf16);
  AttentionContext context;
  const LatentNormal encoded = vae->encode(io.at("sample"), context);
  const auto expect = [&](const Tensor& got, const std::string& name) {
    EXPECT_EQ(got.dtype(), DType::f32);
    EXPECT_LE(error_over_std(got, io.at(name)), 3 * error_over_std(io.at("bf16." + name), io.at(name))) << name;
  };
  expect(encoded.mean, "mean");
  expect(encoded.logvar, "logvar");
  expect(vae->decode(io.at("latent"), context), "decoded");
}

INSTANTIATE_TEST_SUITE_P(fixtures, VaeParity,
                         ::testing::Values("sd", "sdxl", "flux", "no_attention", "old_names", "gelu", "attending",
                                           "one_level", "mish", "relu"),
                         [](const auto& info) { return info.param; });

TEST(VaeKl, clamps_the_logarithm_of_the_variance) {
  const Tensor expected = read_safetensors(folder_of("old_names") + "/io.safetensors").at("logvar");
  const std::vector<float> values = expected.to_vector();
  EXPECT_GT(std::count(values.begin(), values.end(), -30.0f) + std::count(values.begin(), values.end(), 20.0f), 5);
}

class VaeTiling : public ::testing::TestWithParam<std::string> {};

TEST_P(VaeTiling, blends_as_diffusers) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto vae = load(GetParam(), DType::f32);
  AttentionContext context;
  const Tensor whole = vae->decode(io.at("small"), context);
  vae->set_tiling(vae->config().sample_size);
  const LatentNormal encoded = vae->encode(io.at("large"), context);
  const Tensor decoded = vae->decode(io.at("small"), context);
  EXPECT_LE(error_over_std(encoded.mean, io.at("tiled.mean")), 2e-4);
  EXPECT_LE(error_over_std(encoded.logvar, io.at("tiled.logvar")), 2e-4);
  EXPECT_LE(error_over_std(decoded, io.at("tiled.decoded")), 2e-4);
  EXPECT_GT(error_over_std(decoded, whole), 1e-3);  // tiles differ from the whole
  vae->set_tiling(0);
  EXPECT_EQ(vae->decode(io.at("small"), context).to_vector(), whole.to_vector());
}

TEST_P(VaeTiling, has_a_gradient) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto vae = load(GetParam(), DType::f32);
  vae->set_tiling(vae->config().sample_size);
  Tape tape;
  AttentionContext context;
  const Tensor latent = tape.watch(io.at("small"));
  const Tensor decoded = vae->decode(latent, context);
  const std::vector<float> gradient = tape.gradient(decoded, latent, io.at("tiled.decoded")).to_vector();
  for (const float value : gradient) EXPECT_TRUE(std::isfinite(value) && value != 0);
}

INSTANTIATE_TEST_SUITE_P(fixtures, VaeTiling, ::testing::Values("sd", "flux"),
                         [](const auto& info) { return info.param; });

TEST(VaeKl, scales_latents_to_and_from_the_denoiser) {
  const std::vector<float> ones(4, 1.0f);
  for (const auto& [name, expected] :
       {std::pair("sd", std::vector<double>(4, 0.18215)),
        std::pair("sdxl", std::vector<double>{0.9 * 0.13025 / 1.5, 1.2 * 0.13025 / 0.7, 0.7 * 0.13025 / 1.1,
                                              0.6 * 0.13025 / 2})}) {
    const auto vae = load(name, DType::f32);
    const Tensor scaled = vae->to_denoiser(Tensor::from(ones, {1, 4, 1, 1}));
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(scaled.to_vector()[i], expected[i], 1e-6);
    for (const float back : vae->from_denoiser(scaled).to_vector()) EXPECT_NEAR(back, 1, 1e-6);
  }
  const auto flux = load("flux", DType::f32);
  const Tensor scaled = flux->to_denoiser(Tensor::full({1, 16, 1, 1}, 1));
  EXPECT_NEAR(scaled.to_vector()[0], (1 - 0.1159) * 0.3611, 1e-6);
  EXPECT_NEAR(flux->from_denoiser(scaled).to_vector()[0], 1, 1e-6);
}

TEST(VaeKl, states_its_sites) {
  std::vector<std::string> names;
  const auto vae = load("attending", DType::f32);
  for (const AttentionSite& site : vae->sites()) {
    EXPECT_EQ(site.depth, static_cast<int>(names.size()));
    EXPECT_EQ(site.heads, 1);
    names.push_back(site.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"encoder.down.1.attn0", "encoder.mid.attn", "decoder.mid.attn",
                                             "decoder.up.0.attn0", "decoder.up.0.attn1"}));
  EXPECT_TRUE(load("no_attention", DType::f32)->sites().empty());
}

TEST(VaeKl, refuses_what_it_does_not_know) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<VaeKl, VaeConfig>(folder_of("sd"), changes, word);
  };
  expect({{"latent_chanels", 4}}, "\"latent_channels\"");
  expect({{"act_fn", "misch"}}, "try mish");
  expect({{"norm_num_groups", 3}}, "norm_num_groups");
  expect({{"block_out_channels", nlohmann::json::array()}}, "block_out_channels");
  expect({{"block_out_channels", {8, 1 << 20}}}, "block_out_channels");
  expect({{"down_block_types", {"DownEncoderBlock2D"}}}, "down_block_types");
  expect({{"up_block_types", {"UpDecoderBlock2D", "UpBlock2D"}}}, "UpBlock2D");
  expect({{"layers_per_block", 2}}, "resnets.1");
  expect({{"use_quant_conv", false}}, "quant_conv");           // a surplus tensor
  expect({{"mid_block_add_attention", false}}, "attentions");  // the same
  expect({{"latent_channels", 8}}, "conv_out");
  expect({{"latents_mean", {1.0, 2.0}}}, "latents_mean");
  expect({{"scaling_factor", 0}}, "scaling_factor");
  expect({{"scaling_factor", "Infinity"}}, "scaling_factor");
  expect({{"force_upcast", "yes"}}, "force_upcast");
  expect({{"layers_per_block", -1}}, "layers_per_block");
}

TEST(VaeKl, checks_its_input_at_the_door) {
  const auto vae = load("sd", DType::f32);
  AttentionContext context;
  EXPECT_THROW(vae->encode(Tensor::zeros({1, 4, 8, 8}), context), Error);
  EXPECT_THROW(vae->encode(Tensor::zeros({1, 3, 1, 8}), context), Error);
  EXPECT_THROW(vae->decode(Tensor::zeros({1, 3, 8, 8}), context), Error);
  EXPECT_THROW(vae->decode(Tensor::zeros({4, 8, 8}), context), Error);
  EXPECT_THROW(vae->set_tiling(3), Error);
  vae->set_tiling(16);
  EXPECT_THROW(vae->encode(Tensor::zeros({1, 3, 13, 40}), context), Error);  // leaves a tile one pixel high
}

}  // namespace
}  // namespace heddle
