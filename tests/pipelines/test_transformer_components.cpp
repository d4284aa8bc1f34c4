// SD3 and FLUX through eval's door: inputs by name, the gradient by a cotangent, inputs of other shapes that mean the
// same, refusals.
#include <gtest/gtest.h>

#include <memory>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/component.h"
#include "tests/support/compare.h"

namespace heddle {
namespace {

std::string folder_of(const std::string& name) {
  return std::string(HEDDLE_FIXTURES) + "/unet_dit/" + name;
}

// The inputs of a fixture, without what it expects.
TensorMap inputs_of(const TensorMap& io) {
  TensorMap inputs;
  for (const auto& [name, tensor] : io) {
    if (!name.starts_with("expected")) inputs[name] = tensor;
  }
  return inputs;
}

class TransformerComponents : public ::testing::TestWithParam<std::string> {};

TEST_P(TransformerComponents, GiveTheOriginalsResultAndGradient) {
  const TensorMap io = read_safetensors(folder_of(GetParam()) + "/io.safetensors");
  const auto component = Component::load(folder_of(GetParam()), DType::f32);
  const TensorMap out = component->run(inputs_of(io));
  EXPECT_LE(testing::error_over_std(out.at("sample"), io.at("expected.sample")), 2e-4);
  EXPECT_LE(testing::error_over_std(out.at("vjp.hidden_states"), io.at("expected.vjp")), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TransformerComponents,
                         ::testing::Values("sd3/sd3_dual", "sd3/sd3_skip", "flux/flux_dev", "flux/flux_schnell"),
                         [](const auto& info) { return info.param.substr(info.param.find('/') + 1); });

TEST(FluxComponent, ReadsCoordinatesOfABatchAndOneTimeForAllRows) {
  const TensorMap io = read_safetensors(folder_of("flux/flux_dev") + "/io.safetensors");
  const auto component = Component::load(folder_of("flux/flux_dev"), DType::f32);
  TensorMap inputs = inputs_of(io);
  inputs.erase("cotangent");
  inputs["timestep"] = slice(inputs["timestep"], 0, 0, 1);
  inputs["guidance"] = slice(inputs["guidance"], 0, 0, 1);
  for (const char* name : {"img_ids", "txt_ids"}) {
    const Tensor ids = inputs[name];
    inputs[name] = repeat(reshape(ids, {1, ids.dim(0), ids.dim(1)}), 0, 2);
  }
  const Tensor out = component->run(inputs).at("sample");
  EXPECT_LE(testing::error_over_std(slice(out, 0, 0, 1), slice(io.at("expected.sample"), 0, 0, 1)), 2e-4);
}

TEST(TransformerInputs, RefuseWhatIsMissingOrMisshapen) {
  const TensorMap io = read_safetensors(folder_of("flux/flux_dev") + "/io.safetensors");
  const auto component = Component::load(folder_of("flux/flux_dev"), DType::f32);
  for (const char* name :
       {"hidden_states", "encoder_hidden_states", "pooled_projections", "timestep", "img_ids", "txt_ids", "guidance"}) {
    TensorMap inputs = inputs_of(io);
    inputs.erase("cotangent");
    inputs[name] = Tensor::zeros({7});
    EXPECT_THROW(component->run(inputs), Error) << name;
    inputs.erase(name);
    EXPECT_THROW(component->run(inputs), Error) << name;
  }
}

}  // namespace
}  // namespace heddle
