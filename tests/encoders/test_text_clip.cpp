// CLIP text encoders of every kind against transformers: all outputs in f32 and bf16, refusals, sites.
#include "encoders/text_clip.h"

#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "tests/support/compare.h"
#include "tests/support/network.h"

namespace heddle {
namespace {

using testing::error_over_std;

std::string folder_of(const std::string& name) {
  return std::string(HEDDLE_FIXTURES) + "/encoders/text/" + name;
}

std::unique_ptr<ClipText> load(const std::string& folder, DType compute) {
  return testing::load_network<ClipText, ClipTextConfig>(folder, compute);
}

TensorMap outputs_of(const ClipText& text, const Tensor& ids) {
  AttentionContext context;
  const ClipTextOutput out = text(ids, context);
  std::vector<Tensor> states;
  for (const Tensor& state : out.hidden_states) {
    states.push_back(reshape(state, {1, state.dim(0), state.dim(1), state.dim(2)}));
  }
  TensorMap named{{"last_hidden_state", out.last_hidden_state},
                  {"hidden_states", concat(states, 0)},
                  {"skipped", text.skipped_normalised(out, 1)}};
  if (out.text_embeds.defined()) {
    named["text_embeds"] = out.text_embeds;
  } else {
    named["pooler_output"] = out.pooler_output;
  }
  return named;
}

class ClipTextParity : public ::testing::TestWithParam<std::string> {};

TEST_P(ClipTextParity, agrees_with_transformers) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const TensorMap f32 = outputs_of(*load(folder_of(GetParam()), DType::f32), io.at("input_ids"));
  const TensorMap bf16 = outputs_of(*load(folder_of(GetParam()), DType::bf16), io.at("input_ids"));
  for (const auto& [name, tensor] : f32) {
    const Tensor& expected = io.at("expected." + name);
    EXPECT_EQ(tensor.dtype(), DType::f32);
    EXPECT_LE(error_over_std(tensor, expected), 2e-4) << name;
    EXPECT_LE(error_over_std(bf16.at(name), expected), 3 * error_over_std(io.at("bf16." + name), expected)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(fixtures, ClipTextParity,
                         ::testing::Values("sd1", "sd2", "sdxl2", "bare", "gelu_new", "projects_old"),
                         [](const auto& info) { return info.param; });

TEST(ClipText, names_the_states_that_pipelines_take) {
  const TensorMap io = read_safetensors(folder_of("sdxl2") + "/io.safetensors");
  const auto text = load(folder_of("sdxl2"), DType::f32);
  AttentionContext context;
  const ClipTextOutput out = (*text)(io.at("input_ids"), context);
  ASSERT_EQ(out.hidden_states.size(), 4u);
  EXPECT_EQ(out.penultimate().to_vector(), out.hidden_states[2].to_vector());
  EXPECT_EQ(text->skipped_plain(out, 0).to_vector(), out.penultimate().to_vector());
  EXPECT_EQ(text->skipped_plain(out, 1).to_vector(), out.hidden_states[1].to_vector());
  EXPECT_EQ(text->skipped_normalised(out, 0).to_vector(), out.last_hidden_state.to_vector());
  EXPECT_THROW(text->skipped_plain(out, 3), Error);
  EXPECT_THROW(text->skipped_normalised(out, 4), Error);
  EXPECT_THROW(text->skipped_normalised(out, -1), Error);
}

TEST(ClipText, takes_texts_shorter_than_its_window) {
  const auto text = load(folder_of("sd1"), DType::f32);
  const std::vector<int64_t> ids = {58, 3, 7, 59, 9}, more = {58, 3, 7, 59, 9, 4, 5};
  AttentionContext context;
  const Tensor few = (*text)(Tensor::from(ids, {1, 5}), context).last_hidden_state;
  const Tensor many = (*text)(Tensor::from(more, {1, 7}), context).last_hidden_state;
  EXPECT_LE(error_over_std(slice(many, 1, 0, 5), few), 1e-5);  // causal: later tokens change nothing
}

TEST(ClipText, states_its_sites) {
  const auto sites = load(folder_of("sd1"), DType::f32)->sites();
  ASSERT_EQ(sites.size(), 3u);
  EXPECT_EQ(sites[2].name, "text.layer02.self");
  EXPECT_EQ(sites[2].depth, 2);
  EXPECT_TRUE(sites[2].causal);
  EXPECT_EQ(sites[2].heads * sites[2].head_dim, 16);
}

TEST(ClipText, refuses_what_it_does_not_know) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<ClipText, ClipTextConfig>(folder_of("sd1"), changes, word);
  };
  expect({{"hidden_sise", 16}}, "\"hidden_size\"");
  expect({{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  expect({{"hidden_act", "swiglu"}}, "hidden_act");
  expect({{"num_attention_heads", 3}}, "num_attention_heads");
  expect({{"num_hidden_layers", 4}}, "encoder.layers.3");
  expect({{"num_hidden_layers", 2}}, "encoder.layers.2");  // a surplus layer
  expect({{"hidden_size", 20}}, "token_embedding");
  expect({{"hidden_size", -16}}, "hidden_size");
  expect({{"vocab_size", "many"}}, "vocab_size");
  expect({{"eos_token_id", {1, 2}}}, "eos_token_id");
  expect({{"architectures", {"T5EncoderModel"}}}, "T5EncoderModel");
  expect({{"architectures", {"CLIPTextModelWithProjection"}}}, "text_projection.weight");
}

TEST(ClipText, refuses_ids_it_cannot_look_up) {
  const auto text = load(folder_of("sd1"), DType::f32);
  AttentionContext context;
  const auto run = [&](std::vector<int64_t> ids, const Shape& shape) { (*text)(Tensor::from(ids, shape), context); };
  EXPECT_THROW(run({60}, {1, 1}), Error);
  EXPECT_THROW(run({-1}, {1, 1}), Error);
  EXPECT_THROW(run(std::vector<int64_t>(13, 1), {1, 13}), Error);
  EXPECT_THROW(run({1, 2}, {2}), Error);
}

}  // namespace
}  // namespace heddle
