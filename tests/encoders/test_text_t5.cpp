// T5 encoders of every kind against transformers: f32 and bf16, masks, gradients of the embeddings, lanes, refusals.
#include "encoders/text_t5.h"

#include <gtest/gtest.h>

#include "attention_control/plan/planner.h"
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
  return std::string(HEDDLE_FIXTURES) + "/encoders/t5/" + name;
}

std::unique_ptr<T5Text> load(const std::string& name, DType compute) {
  return testing::load_network<T5Text, T5TextConfig>(folder_of(name), compute);
}

Tensor run(const T5Text& text, const Tensor& ids, const Tensor& mask = {}) {
  AttentionContext context;
  return text(ids, mask, context);
}

class T5TextParity : public ::testing::TestWithParam<std::string> {};

TEST_P(T5TextParity, agrees_with_transformers) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto f32 = load(GetParam(), DType::f32), bf16 = load(GetParam(), DType::bf16);
  for (const auto& [name, mask] : TensorMap{{"plain", Tensor()}, {"masked", io.at("attention_mask")}}) {
    const Tensor& expected = io.at("expected." + name);
    const Tensor got = run(*f32, io.at("input_ids"), mask);
    EXPECT_EQ(got.dtype(), DType::f32);
    EXPECT_LE(error_over_std(got, expected), 2e-4) << name;
    const double theirs = error_over_std(io.at("bf16." + name), expected);
    EXPECT_LE(error_over_std(run(*bf16, io.at("input_ids"), mask), expected), 3 * theirs) << name;
  }
}

TEST_P(T5TextParity, has_the_gradient_of_the_embeddings) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto text = load(GetParam(), DType::f32);
  Tape tape;
  AttentionContext context;
  const Tensor embeds = tape.watch(io.at("inputs_embeds"));
  const Tensor out = text->encode(embeds, io.at("attention_mask"), context);
  EXPECT_LE(error_over_std(out.detach(), io.at("embedded")), 2e-4);
  EXPECT_LE(error_over_std(tape.gradient(out, embeds, io.at("cotangent")), io.at("vjp")), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(fixtures, T5TextParity, ::testing::Values("v1", "v1_1", "silu", "umt5", "sharded"),
                         [](const auto& info) { return info.param; });

TEST(T5Text, gives_padding_no_say) {
  const TensorMap io = read_safetensors(folder_of("v1_1") + "/io.safetensors");
  const auto text = load("v1_1", DType::f32);
  const Tensor all = run(*text, io.at("input_ids"), io.at("attention_mask"));
  const Tensor alone = run(*text, slice(io.at("input_ids"), 1, 0, 9));
  EXPECT_LE(error_over_std(slice(slice(all, 0, 0, 1), 1, 0, 9), slice(alone, 0, 0, 1)), 1e-5);
}

TEST(T5Text, takes_masks_of_any_dtype_and_one_token) {
  const auto text = load("v1", DType::f32);
  const Tensor ids = Tensor::from(std::vector<int64_t>{7, 3, 9}, {1, 3});
  const Tensor whole = Tensor::from(std::vector<int64_t>{1, 1, 0}, {1, 3});
  EXPECT_EQ(run(*text, ids, whole).to_vector(), run(*text, ids, to(whole, DType::f32)).to_vector());
  EXPECT_EQ(run(*text, slice(ids, 1, 0, 1)).shape().text(), Shape({1, 1, 12}).text());
}

// What the network adds itself holds under edits too, for the rows of each lane: a bias that is the same for all keys
// changes nothing, on either engine.
TEST(T5Text, keeps_its_terms_under_a_plan) {
  const TensorMap io = read_safetensors(folder_of("v1") + "/io.safetensors");
  const auto text = load("v1", DType::f32);
  const Tensor plain = run(*text, io.at("input_ids"), io.at("attention_mask"));
  const TokenLayout tokens{{.name = "text", .width = io.at("input_ids").dim(1)}};
  RunShape shape{.sites = text->sites(), .tokens = {3, {tokens, tokens}}, .guided = false};
  shape.members = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
  PlanBuilder builder(shape);
  builder.speaks("test", "here", "");
  const Tensor same = Tensor::full({1, tokens[0].width}, 0.5f);
  for (const SiteScope& site : builder.sites({.kinds = {AttentionKind::self}, .text = "all"}))
    site.member(1).declare(AddScore{{.text = "same", .form = Column{same}}});
  CompiledPlan plan = compile(builder);
  for (const Tier least : {Tier::plain, Tier::reference}) {
    plan.least = least;
    AttentionContext context{.plan = &plan};
    for (int i = 0; i < 3; ++i)
      context.lanes.push_back({.name = shape.members[i].name, .member = i, .begin = i, .end = i + 1});
    const Tensor edited = (*text)(io.at("input_ids"), io.at("attention_mask"), context);
    EXPECT_LE(error_over_std(edited, plain), 1e-5);
    EXPECT_NE(edited.to_vector(), plain.to_vector());
  }
}

TEST(T5Text, states_its_sites) {
  const auto sites = load("v1", DType::f32)->sites();
  ASSERT_EQ(sites.size(), 3u);
  EXPECT_EQ(sites[2].name, "text.layer02.self");
  EXPECT_EQ(sites[2].depth, 2);
  EXPECT_FALSE(sites[2].causal);
  EXPECT_EQ(sites[2].scale, 1);
  EXPECT_EQ(sites[2].head_dim, 8);
}

// Figures of transformers' _relative_position_bucket.
TEST(T5Text, puts_distances_into_buckets) {
  const auto all = [](std::vector<int64_t> relatives, int64_t buckets, int64_t farthest) {
    for (int64_t& r : relatives) r = t5_bucket(r, buckets, farthest);
    return relatives;
  };
  EXPECT_EQ(all({0, 1, -1, 7, -7, 8, -8, 11, -11, 12, 16, 32, 64, 127, 128, -5000}, 32, 128),
            (std::vector<int64_t>{0, 17, 1, 23, 7, 24, 8, 24, 8, 25, 26, 28, 30, 31, 31, 15}));
}

TEST(T5Text, refuses_what_it_does_not_know) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<T5Text, T5TextConfig>(folder_of("v1"), changes, word);
  };
  expect({{"d_modell", 16}}, "\"d_model\"");
  expect({{"feed_forward_proj", "gated-swiglu"}}, "feed_forward_proj");
  expect({{"feed_forward_proj", "gated-gelu"}}, "wi_0");
  expect({{"num_layers", 4}}, "block.3");
  expect({{"num_layers", 2}}, "block.2");
  expect({{"d_model", 20}}, "shared");
  expect({{"d_kv", 0}}, "d_kv");
  expect({{"num_heads", 1 << 20}}, "num_heads");
  expect({{"relative_attention_num_buckets", 3}}, "relative_attention_num_buckets");
  expect({{"relative_attention_num_buckets", 16}}, "relative_attention_bias");
  expect({{"relative_attention_max_distance", 8}}, "relative_attention_max_distance");
  expect({{"is_decoder", true}}, "is_decoder");
  expect({{"model_type", "mt5"}}, "mt5");
  expect({{"architectures", {"T5ForConditionalGeneration"}}}, "T5EncoderModel");
  expect({{"architectures", {"UMT5EncoderModel"}}}, "block.1.layer.0.SelfAttention.relative_attention_bias");
}

TEST(T5Text, refuses_inputs_that_do_not_fit) {
  const auto text = load("v1", DType::f32);
  const Tensor ids = Tensor::from(std::vector<int64_t>{7, 3, 9}, {1, 3});
  const auto refuses = [&](const Tensor& some, const Tensor& mask, ErrorCode code) {
    try {
      run(*text, some, mask);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
  };
  refuses(Tensor::from(std::vector<int64_t>{50}, {1, 1}), {}, ErrorCode::input);
  refuses(Tensor::from(std::vector<int64_t>{-1}, {1, 1}), {}, ErrorCode::input);
  refuses(reshape(ids, {3}), {}, ErrorCode::usage);
  refuses(ids, reshape(ids, {3, 1}), ErrorCode::usage);
  refuses(ids, Tensor::zeros({1, 3}, DType::i64), ErrorCode::usage);
  AttentionContext context;
  EXPECT_THROW(text->encode(Tensor::zeros({1, 3, 11}), {}, context), Error);
}

}  // namespace
}  // namespace heddle
