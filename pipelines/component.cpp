// Evaluation of single components.
#include "pipelines/component.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/view.h"
#include "pipelines/component_encoders.h"
#include "pipelines/component_transformers.h"
#include "pipelines/load_component.h"
#include "unet_dit/unet.h"

namespace heddle {
namespace {

Tensor optional_input(const TensorMap& inputs, const char* name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? Tensor() : found->second;
}

Tensor as_f32(const Tensor& x) {
  return x.defined() ? to(x, DType::f32) : x;
}

class UNetComponent final : public Component {
 public:
  UNetComponent(const ComponentSource& from, DType compute) : unet_(load_component<UNet, UNetConfig>(from, compute)) {}
  std::string class_name() const override { return "UNet2DConditionModel"; }

 protected:
  Signature signature(const TensorMap&) const override {
    return {
        "sample", {"timestep", "encoder_hidden_states"}, {"text_embeds", "time_ids", "class_labels", "timestep_cond"}};
  }

  std::vector<std::pair<std::string, Tensor>> forward(const TensorMap& inputs) const override {
    const Tensor& sample = inputs.at("sample");
    Tensor timesteps = as_f32(inputs.at("timestep"));
    if (timesteps.count() == 1 && sample.rank() == 4) timesteps = repeat(reshape(timesteps, {1}), 0, sample.dim(0));
    const Conditioning conditioning{.text = as_f32(inputs.at("encoder_hidden_states")),
                                    .text_embeds = as_f32(optional_input(inputs, "text_embeds")),
                                    .time_ids = as_f32(optional_input(inputs, "time_ids")),
                                    .class_labels = optional_input(inputs, "class_labels"),
                                    .guidance = as_f32(optional_input(inputs, "timestep_cond"))};
    AttentionContext context;
    return {{"sample", (*unet_)(as_f32(sample), timesteps, conditioning, context)}};
  }

 private:
  std::unique_ptr<UNet> unet_;
};

// diffusers writes `_class_name`, transformers a list `architectures`.
std::string class_of(const Json& config) {
  if (config.has("_class_name")) return config.get<std::string>("_class_name");
  if (config.has("architectures") && config.get<Json>("architectures").size() == 1) {
    return config.get<Json>("architectures")[0].as<std::string>();
  }
  return "no _class_name and no architectures";
}

}  // namespace

std::unique_ptr<Component> Component::load(const std::string& path, DType compute, const std::string& config_folder) {
  const ComponentSource from = open_component(path, config_folder);
  const Json& config = from.config;
  const std::string name = class_of(config);
  if (name == "UNet2DConditionModel") return std::make_unique<UNetComponent>(from, compute);
  if (name == "SD3Transformer2DModel") return load_sd3_component(from, compute);
  if (name == "FluxTransformer2DModel") return load_flux_component(from, compute);
  if (name == "AutoencoderKL") return load_vae_component(from, compute);
  if (name == "CLIPTextModel" || name == "CLIPTextModelWithProjection") return load_text_component(from, compute);
  if (name == "T5EncoderModel" || name == "UMT5EncoderModel") return load_t5_component(from, compute);
  fail(ErrorCode::input, config.where(),
       "UNet2DConditionModel, SD3Transformer2DModel, FluxTransformer2DModel, AutoencoderKL, CLIPTextModel, "
       "CLIPTextModelWithProjection, T5EncoderModel or UMT5EncoderModel",
       name);
}

TensorMap Component::run(const TensorMap& inputs) const {
  const Signature names = signature(inputs);
  std::vector<std::string> needed = names.required;
  if (!names.first.empty()) needed.insert(needed.begin(), names.first);
  for (const std::string& name : needed) {
    if (!inputs.contains(name)) fail(ErrorCode::usage, "eval " + class_name(), "a tensor " + name, "none of that name");
  }
  for (const auto& [name, tensor] : inputs) {
    std::vector<std::string> known = needed;
    known.insert(known.end(), names.optional.begin(), names.optional.end());
    if (!names.first.empty()) known.emplace_back("cotangent");
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fail(ErrorCode::usage, "eval " + class_name(), "known inputs", name, nearest_word(name, known));
    }
  }
  TensorMap with = inputs;
  Tape tape;
  const bool differentiate = inputs.contains("cotangent");
  if (differentiate) with[names.first] = tape.watch(as_f32(inputs.at(names.first)));

  TensorMap result;
  const auto outputs = forward(with);
  for (const auto& [name, tensor] : outputs) result[name] = tensor.detach();
  if (differentiate) {
    const Tensor cotangent = as_f32(inputs.at("cotangent"));
    if (!(cotangent.shape() == outputs[0].second.shape())) {
      fail(ErrorCode::usage, "eval cotangent", outputs[0].second.shape().text(), cotangent.shape().text());
    }
    result["vjp." + names.first] = tape.gradient(outputs[0].second, with[names.first], cotangent);
  }
  return result;
}

}  // namespace heddle
