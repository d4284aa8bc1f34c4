// UNets of every kind of configuration against diffusers: forward and gradient in f32, forward in bf16, refusals.
#include "unet_dit/unet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/small_run.h"
#include "tests/unet_dit/parity.h"

namespace heddle {
namespace {

using testing::error_over_std;
using testing::folder_of;

std::unique_ptr<UNet> load(const std::string& folder, DType compute) {
  return testing::load_network<UNet, UNetConfig>(folder, compute);
}

Conditioning conditioning_of(const TensorMap& io) {
  const auto get = [&](const char* name) { return io.contains(name) ? io.at(name) : Tensor(); };
  return {.text = get("encoder_hidden_states"),
          .text_embeds = get("text_embeds"),
          .time_ids = get("time_ids"),
          .class_labels = get("class_labels"),
          .guidance = get("timestep_cond")};
}

class UNetParity : public ::testing::TestWithParam<std::string> {};

TEST_P(UNetParity, ForwardAndGradientAgreeWithDiffusers) {
  const std::string folder = folder_of(GetParam());
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  const auto unet = load(folder, DType::f32);
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "checkpointing" : "saved activations");
    unet->set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;
    const Tensor sample = tape.watch(io.at("sample"));
    const Tensor out = (*unet)(sample, io.at("timestep"), conditioning_of(io), context);
    EXPECT_LE(error_over_std(out, io.at("expected.sample")), 2e-4);
    EXPECT_LE(error_over_std(tape.gradient(out, sample, io.at("cotangent")), io.at("expected.vjp")), 1e-3);
  }
}

TEST_P(UNetParity, Bf16IsNoWorseThanThreeTimesTorch) {
  const std::string folder = folder_of(GetParam());
  const TensorMap io = read_safetensors(folder + "/io.safetensors");
  AttentionContext context;
  const Tensor out = (*load(folder, DType::bf16))(io.at("sample"), io.at("timestep"), conditioning_of(io), context);
  EXPECT_LE(error_over_std(out, io.at("expected.sample")),
            3 * error_over_std(io.at("expected.bf16"), io.at("expected.sample")));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, UNetParity, ::testing::ValuesIn(testing::fixtures_in("")),
                         [](const auto& info) { return info.param; });

TEST(UNetSites, AreNamedInOrderAndTruthful) {
  const auto unet = load(folder_of("sdxl"), DType::f32);
  std::vector<std::string> names;
  for (const AttentionSite& site : unet->sites()) {
    EXPECT_EQ(site.depth, static_cast<int>(names.size()));
    names.push_back(site.name);
  }
  EXPECT_EQ(names.front(), "down.1.block0.depth0.self");
  EXPECT_EQ(names[1], "down.1.block0.depth0.cross");
  EXPECT_NE(std::find(names.begin(), names.end(), "mid.block0.depth2.cross"), names.end());
  EXPECT_EQ(names.back(), "up.1.block2.depth1.cross");
}

// The members' rows of both branches, the second of which shares the statistics of the first.
class UNetSharedNorms : public ::testing::Test {
 protected:
  UNetSharedNorms() : io_(read_safetensors(folder_of("sd1") + "/io.safetensors")) {
    const Shape one{1, io_.at("sample").dim(1), 16, 16};
    for (uint64_t row = 0; row < 4; ++row) samples_.push_back(testing::random_tensor(one, row + 1));
    text_ = testing::random_tensor({4, 7, io_.at("encoder_hidden_states").dim(2)}, 9);
  }

  CompiledPlan plan(const UNet& unet, bool shared) const {
    PlanBuilder builder({.sites = unet.sites(),
                         .tokens = unet.site_tokens(16, 16, 7),
                         .group_norms = unet.group_norms(),
                         .members = {{"image0", {}}, {"image1", {}}}});
    if (shared) builder.shared_norms = {{.method = "style", .where = "p.yaml:1", .member = 1, .with = 0}};
    return compile(builder);
  }

  Tensor evaluate(const UNet& unet, const Tensor& sample, const CompiledPlan* plan, AttentionContext& context,
                  Pass pass = Pass::denoise) const {
    context.moment.pass = pass;
    context.plan = plan;
    for (const Branch branch : {Branch::uncond, Branch::cond}) {
      for (int member = 0; member < 2; ++member) {
        const auto row = static_cast<int64_t>(context.lanes.size());
        context.lanes.push_back({name_of(branch), branch, member, row, row + 1});
      }
    }
    return unet(sample, Tensor::full({4}, 500), {.text = text_}, context);
  }

  TensorMap io_;
  std::vector<Tensor> samples_;
  Tensor text_;
};

TEST_F(UNetSharedNorms, ChangeTheOtherMemberAlone) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto unet = load(folder_of("sd1"), dtype);
    const CompiledPlan shared = plan(*unet, true), empty = plan(*unet, false);
    const auto rows = [&](const std::vector<Tensor>& samples, const CompiledPlan* by, Pass pass = Pass::denoise) {
      AttentionContext context;
      std::vector<std::vector<float>> out;
      for (const Tensor& row : split(evaluate(*unet, concat(samples, 0), by, context, pass), 0, 4))
        out.push_back(row.to_vector());
      return out;
    };
    const auto plain = rows(samples_, nullptr), own = rows(samples_, &shared);
    EXPECT_EQ(rows(samples_, &empty), plain);
    EXPECT_EQ(rows(samples_, &shared, Pass::invert), plain);
    EXPECT_EQ(rows(samples_, &shared, Pass::guide), own);
    for (const size_t row : {0u, 2u}) EXPECT_EQ(own[row], plain[row]);
    for (const size_t row : {1u, 3u}) EXPECT_NE(own[row], plain[row]);
    // Each branch has a reference of its own: another one moves the member of that branch and nothing else.
    std::vector<Tensor> others = samples_;
    others[2] = testing::random_tensor(samples_[2].shape(), 77);
    const auto moved = rows(others, &shared);
    EXPECT_EQ(moved[0], own[0]);
    EXPECT_EQ(moved[1], own[1]);
    EXPECT_NE(moved[3], own[3]);
  }
}

// From a member's prediction through the statistics to the other's sample, whether blocks are computed twice or not.
TEST_F(UNetSharedNorms, GradientReachesTheOtherMember) {
  const auto unet = load(folder_of("sd1"), DType::f32);
  const CompiledPlan shared = plan(*unet, true);
  const Tensor cotangent = testing::random_tensor(samples_[0].shape(), 21);
  const auto gradient_at_reference = [&](const CompiledPlan& by, bool checkpointing) {
    unet->set_checkpointing(checkpointing);
    Tape tape;
    AttentionContext context;
    const Tensor sample = tape.watch(concat(samples_, 0));
    const Tensor out = slice(evaluate(*unet, sample, &by, context), 0, 3, 4);
    return slice(tape.gradient(out, sample, cotangent), 0, 2, 3);
  };
  const Tensor direct = gradient_at_reference(shared, false);
  EXPECT_LE(error_over_std(gradient_at_reference(shared, true), direct), 1e-5);
  EXPECT_EQ(gradient_at_reference(plan(*unet, false), false).to_vector(),
            std::vector<float>(static_cast<size_t>(direct.count())));
  // Along the gradient the loss rises by its length.
  double length = 0;
  for (const float g : direct.to_vector()) length += static_cast<double>(g) * g;
  length = std::sqrt(length);
  const auto loss = [&](double step) {
    AttentionContext context;
    std::vector<Tensor> moved = samples_;
    moved[2] = weighted_sum(1, samples_[2], step / length, direct);
    const std::vector<float> out = slice(evaluate(*unet, concat(moved, 0), &shared, context), 0, 3, 4).to_vector();
    const std::vector<float> weight = cotangent.to_vector();
    double total = 0;
    for (size_t i = 0; i < out.size(); ++i) total += static_cast<double>(out[i]) * weight[i];
    return total;
  };
  const double h = 0.05;
  EXPECT_GT(length, 1e-3);
  EXPECT_NEAR((loss(h) - loss(-h)) / (2 * h), length, 1e-2 * length);
}

TEST(UNetSites, GroupNormsAreCounted) {
  for (const std::string& name : testing::fixtures_in("")) {
    const TensorMap weights = read_safetensors(folder_of(name) + "/diffusion_pytorch_model.safetensors");
    int norms = 0;
    for (const auto& [key, weight] : weights) {
      const bool of_resnet = key.find(".resnets.") != std::string::npos && key.find(".norm") != std::string::npos;
      const bool of_transformer =
          key.find(".transformer_blocks.") == std::string::npos && key.ends_with(".norm.weight");
      norms += key.ends_with(".weight") && (of_resnet || of_transformer || key == "conv_norm_out.weight") ? 1 : 0;
    }
    EXPECT_EQ(load(folder_of(name), DType::f32)->group_norms(), norms) << name;
  }
}

TEST(UNetConfig, RefusesWithTheNameOfWhatIsWrong) {
  const auto expect = [](const nlohmann::json& changes, const char* word) {
    testing::expect_refusal<UNet, UNetConfig>(folder_of("sd1"), changes, word);
  };
  expect({{"attention_type", "gated"}}, "attention_type");
  expect({{"block_out_chanels", {8, 16}}}, "block_out_channels");
  expect({{"norm_num_groups", 3}}, "norm_num_groups");
  expect({{"down_block_types", {"KDownBlock2D", "DownBlock2D"}}}, "KDownBlock2D");
  expect({{"layers_per_block", 3}}, "down_blocks.0.resnets.2");  // a missing tensor
  expect({{"layers_per_block", 1}}, "resnets");                  // a surplus one
  expect({{"layers_per_block", -1}}, "layers_per_block");
  expect({{"cross_attention_dim", 13}}, "attn2.to_k");  // a shape
}

TEST(UNetInput, IsCheckedAtTheDoor) {
  const auto unet = load(folder_of("sd1"), DType::f32);
  AttentionContext context;
  const Tensor t = Tensor::zeros({1});
  EXPECT_THROW((*unet)(Tensor::zeros({1, 5, 8, 8}), t, {.text = Tensor::zeros({1, 7, 12})}, context), Error);
  EXPECT_THROW((*unet)(Tensor::zeros({1, 4, 8, 8}), t, {}, context), Error);
  EXPECT_THROW((*unet)(Tensor::zeros({1, 4, 8, 8}), t, {.text = Tensor::zeros({2, 7, 12})}, context), Error);
}

}  // namespace
}  // namespace heddle
