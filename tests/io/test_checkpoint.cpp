// What files of tensors are taken for: the published models, from the names and shapes of their tensors alone.
#include "io/checkpoint/checkpoint_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "io/checkpoint/renamed_weights.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "tests/io/temporary.h"
#include "tests/support/shapes_only.h"

namespace heddle {
namespace {

using nlohmann::json;
using testing::ShapesOnly;

std::string gunzip(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string out, piece(1 << 16, '\0');
  for (int n; (n = gzread(file, piece.data(), static_cast<unsigned>(piece.size()))) > 0;) out.append(piece, 0, n);
  gzclose(file);
  return out;
}

std::map<std::string, Shape> shapes_in(const json& tensors) {
  std::map<std::string, Shape> out;
  for (const auto& [name, dims] : tensors.items()) {
    const auto list = dims.get<std::vector<int64_t>>();
    out.emplace(name, Shape(std::span(list)));
  }
  return out;
}

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "nothing was refused";
}

TEST(Checkpoint, PublishedModelsAreKnownByTheirTensors) {
  const json all = json::parse(gunzip(std::string(HEDDLE_FIXTURES) + "/checkpoints/published.json.gz"));
  EXPECT_EQ(all.size(), 10u);
  for (const auto& [name, known] : all.items()) {
    const CheckpointFile file(std::make_shared<ShapesOnly>(shapes_in(known["tensors"])));
    EXPECT_EQ(file.pipeline(), known["pipeline"]) << name;
    EXPECT_EQ(file.components().size(), known["parts"].size()) << name;
    for (const auto& [part, wanted] : known["parts"].items()) {
      const ComponentSource component = file.open(part);
      for (const auto& [key, value] : wanted.items())
        EXPECT_EQ(component.config.node().value(key, json()), value) << name << " " << part << " " << key;
    }
  }
}

TEST(Checkpoint, SchedulesFollowTheFamily) {
  const json all = json::parse(gunzip(std::string(HEDDLE_FIXTURES) + "/checkpoints/published.json.gz"));
  const auto schedule = [&](const std::string& name, const std::map<std::string, Shape>& more = {}) {
    std::map<std::string, Shape> shapes = shapes_in(all[name]["tensors"]);
    shapes.insert(more.begin(), more.end());
    return json::parse(CheckpointFile(std::make_shared<ShapesOnly>(shapes)).scheduler_text());
  };
  // As the published scheduler_config.json say, with the keys of samplers that they may be read as.
  const json diffusion{{"num_train_timesteps", 1000},      {"beta_start", 0.00085}, {"beta_end", 0.012},
                       {"beta_schedule", "scaled_linear"}, {"clip_sample", false},  {"set_alpha_to_one", false},
                       {"skip_prk_steps", true},           {"steps_offset", 1}};
  const auto expect = [&](const std::string& name, const json& base, const json& more) {
    json wanted = base;
    wanted.update(more);
    EXPECT_EQ(schedule(name), wanted) << name;
  };
  expect("sd1", diffusion, {{"_class_name", "PNDMScheduler"}, {"prediction_type", "epsilon"}});
  expect("sd2", diffusion, {{"_class_name", "DDIMScheduler"}, {"prediction_type", "v_prediction"}});
  expect("sdxl", diffusion,
         {{"_class_name", "EulerDiscreteScheduler"}, {"timestep_spacing", "leading"}, {"prediction_type", "epsilon"}});
  const json flow{{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"num_train_timesteps", 1000}};
  expect("sd3", flow, {{"shift", 3}});
  expect("flux_schnell", flow, {{"shift", 1}});
  expect("flux_dev", flow,
         {{"shift", 3},
          {"use_dynamic_shifting", true},
          {"base_shift", 0.5},
          {"max_shift", 1.15},
          {"base_image_seq_len", 256},
          {"max_image_seq_len", 4096}});
  EXPECT_EQ(schedule("sd1_inpaint")["_class_name"], "PNDMScheduler");
  EXPECT_EQ(schedule("sdxl_refiner")["_class_name"], "EulerDiscreteScheduler");
  EXPECT_EQ(schedule("sdxl", {{"v_pred", {0}}})["prediction_type"], "v_prediction");
  EXPECT_TRUE(schedule("sdxl", {{"ztsnr", {0}}})["rescale_betas_zero_snr"]);
  EXPECT_FALSE(schedule("sdxl").contains("rescale_betas_zero_snr"));
  EXPECT_EQ(schedule("sd35_large")["shift"], 3);
}

// SD2's base model alone ended its training at step 875000.
TEST(Checkpoint, TheStepOfTrainingTellsSd2sBaseModel) {
  const testing::TemporaryFolder folder;
  for (const auto& [step, prediction] :
       {std::pair<int64_t, std::string>{875000, "epsilon"}, {140000, "v_prediction"}}) {
    const std::string path = folder.path("sd2.safetensors");
    write_safetensors(path, {{"model.diffusion_model.input_blocks.0.0.weight", Tensor::zeros({4, 4, 3, 3})},
                             {"cond_stage_model.model.positional_embedding", Tensor::zeros({2, 2})},
                             {"global_step", Tensor::from(std::vector<int64_t>{step}, {1})}});
    EXPECT_EQ(json::parse(CheckpointFile(path).scheduler_text())["prediction_type"], prediction);
  }
}

// SD3 asks its first encoder for a projection; files leave it out, for it is the identity.
TEST(Checkpoint, AProjectionThatIsLeftOutIsTheIdentity) {
  const std::string text = "text_encoders.clip_l.transformer.text_model.", layer = text + "encoder.layers.0.";
  const CheckpointFile file(std::make_shared<ShapesOnly>(
      std::map<std::string, Shape>{{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", {6, 2}},
                                   {text + "embeddings.token_embedding.weight", {50, 3}},
                                   {text + "embeddings.position_embedding.weight", {77, 3}},
                                   {layer + "mlp.fc1.weight", {12, 3}}}));
  const ComponentSource encoder = file.open("text_encoder");
  EXPECT_EQ(encoder.weights->take("text_projection.weight", {3, 3}).to_vector(),
            (std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
}

TEST(Checkpoint, T5IsReadOnItsOwn) {
  const std::string block = "encoder.block.0.layer.0.SelfAttention.", dense = "encoder.block.0.layer.1.DenseReluDense.";
  const CheckpointFile file(
      std::make_shared<ShapesOnly>(std::map<std::string, Shape>{{"shared.weight", {50, 12}},
                                                                {block + "q.weight", {16, 12}},
                                                                {block + "relative_attention_bias.weight", {32, 2}},
                                                                {dense + "wi.weight", {20, 12}}}));
  EXPECT_EQ(file.components(), std::vector<std::string>{"text_encoder"});
  for (const std::string name : {"text_encoder", "text_encoder_3"}) {
    const Json config = file.open(name).config;
    EXPECT_EQ(config.get<int>("d_kv"), 8);
    EXPECT_EQ(config.get<int>("d_ff"), 20);
    EXPECT_EQ(config.get<std::string>("feed_forward_proj"), "relu");
  }
}

TEST(Checkpoint, PiecesAreRowsOfWhatTheFileJoins) {
  const LayerNames names{{"blocks.*.qkv", {"b.*.q", "b.*.k", "b.*.wide"}, {1, 1, 2}},
                         {"out", {"mod"}, {}, Change::swapped_halves},
                         {"turn", {"turned"}, {}, Change::transposed},
                         {"dropped", {}}};
  const auto file = std::make_shared<ShapesOnly>(std::map<std::string, Shape>{
      {"p.blocks.7.qkv.weight", {8, 2}}, {"p.out.bias", {4}}, {"p.turn.weight", {2, 3}}, {"p.dropped.x", {1}}});
  RenamedWeights weights(file, pieces_of(file->shapes(), "p.", names, "file"));
  EXPECT_EQ(weights.names(),
            (std::vector<std::string>{"b.7.k.weight", "b.7.q.weight", "b.7.wide.weight", "mod.bias", "turned.weight"}));
  EXPECT_EQ(weights.take("b.7.k.weight", {2, 2}).to_vector(), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_EQ(weights.take("b.7.wide.weight", {4, 2}).to_vector(), (std::vector<float>{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(weights.take("mod.bias", {4}).to_vector(), (std::vector<float>{2, 3, 0, 1}));
  EXPECT_EQ(weights.take("turned.weight", {3, 2}).to_vector(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_NE(refusal([&] { weights.require_all_used(); }).find("p.blocks.7.qkv.weight"), std::string::npos);
  weights.take_any("b.7.q.weight");
  weights.require_all_used();
  EXPECT_NE(refusal([&] { weights.take("mod.bias", {5}); }).find("p.out.bias"), std::string::npos);
  const auto layers = original_layers("b.7.wide", names);
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].source, "blocks.7.qkv");
  EXPECT_EQ(layers[0].first, 2);
}

TEST(Checkpoint, WhatIsNoCheckpointIsRefused) {
  const auto open = [](std::map<std::string, Shape> shapes, const std::string& part = "") {
    return refusal([&] {
      const CheckpointFile file(std::make_shared<ShapesOnly>(std::move(shapes)));
      if (!part.empty()) file.open(part);
    });
  };
  EXPECT_NE(open({}).find("got no tensors"), std::string::npos);
  EXPECT_NE(open({{"lora.up.weight", {2, 2}}}).find("\"lora.up.weight\""), std::string::npos);
  const std::string qkv = "double_blocks.0.img_attn.qkv.weight";
  EXPECT_NE(open({{qkv, {7, 2}}}, "transformer").find("rows in 3 equal parts"), std::string::npos);
  EXPECT_NE(open({{qkv, {6, 2}}}, "vae").find("got transformer"), std::string::npos);
  EXPECT_NE(open({{qkv, {6, 2}}}, "transformer").find("\"transformer_blocks.0.attn.norm_q.weight\""),
            std::string::npos);
  EXPECT_NE(open({{"model.diffusion_model.input_blocks.0.0.weight", {4, 4}}}, "unet").find("a UNet whose levels"),
            std::string::npos);
  EXPECT_NE(
      open({{qkv, {6, 2}}, {"transformer_blocks.0.attn.to_q.weight", {2, 2}}}, "transformer").find("each layer once"),
      std::string::npos);
}

}  // namespace
}  // namespace heddle
