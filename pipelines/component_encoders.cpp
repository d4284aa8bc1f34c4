// AutoencoderKL and the text encoders of CLIP and T5 on named tensors.
#include "pipelines/component_encoders.h"

#include "encoders/text_clip.h"
#include "encoders/text_t5.h"
#include "encoders/vae_kl.h"
#include "kernels/ops/view.h"
#include "pipelines/load_component.h"

namespace heddle {

namespace {

using Named = std::vector<std::pair<std::string, Tensor>>;

class VaeComponent final : public Component {
 public:
  VaeComponent(const ComponentSource& from, DType compute) : vae_(load_component<VaeKl, VaeConfig>(from, compute)) {}
  std::string class_name() const override { return "AutoencoderKL"; }

 protected:
  Signature signature(const TensorMap& inputs) const override {
    return {.first = inputs.contains("latent") ? "latent" : "sample"};
  }

  Named forward(const TensorMap& inputs) const override {
    AttentionContext context;
    if (inputs.contains("latent")) return {{"sample", vae_->decode(to(inputs.at("latent"), DType::f32), context)}};
    const LatentNormal latents = vae_->encode(to(inputs.at("sample"), DType::f32), context);
    return {{"latent_mean", latents.mean}, {"latent_logvar", latents.logvar}};
  }

 private:
  std::unique_ptr<VaeKl> vae_;
};

class TextComponent final : public Component {
 public:
  TextComponent(const ComponentSource& from, DType compute)
      : text_(load_component<ClipText, ClipTextConfig>(from, compute)) {}
  std::string class_name() const override {
    return text_->config().projects ? "CLIPTextModelWithProjection" : "CLIPTextModel";
  }

 protected:
  Signature signature(const TensorMap&) const override { return {.required = {"input_ids"}}; }

  Named forward(const TensorMap& inputs) const override {
    AttentionContext context;
    const ClipTextOutput out = (*text_)(inputs.at("input_ids"), context);
    Named named{{"last_hidden_state", out.last_hidden_state}, {"penultimate", out.penultimate()}};
    named.push_back(out.text_embeds.defined() ? std::pair<std::string, Tensor>("text_embeds", out.text_embeds)
                                              : std::pair<std::string, Tensor>("pooler_output", out.pooler_output));
    return named;
  }

 private:
  std::unique_ptr<ClipText> text_;
};

// From the ids on, or from their embeddings on: gradients are taken of the latter.
class T5Component final : public Component {
 public:
  T5Component(const ComponentSource& from, DType compute)
      : text_(load_component<T5Text, T5TextConfig>(from, compute)) {}
  std::string class_name() const override {
    return text_->config().bias_in_each_layer ? "UMT5EncoderModel" : "T5EncoderModel";
  }

 protected:
  Signature signature(const TensorMap& inputs) const override {
    if (inputs.contains("inputs_embeds")) return {.first = "inputs_embeds", .optional = {"attention_mask"}};
    return {.required = {"input_ids"}, .optional = {"attention_mask"}};
  }

  Named forward(const TensorMap& inputs) const override {
    AttentionContext context;
    const auto found = inputs.find("attention_mask");
    const Tensor mask = found == inputs.end() ? Tensor() : found->second;
    const bool embedded = inputs.contains("inputs_embeds");
    const Tensor states = embedded ? text_->encode(to(inputs.at("inputs_embeds"), DType::f32), mask, context)
                                   : (*text_)(inputs.at("input_ids"), mask, context);
    return {{"last_hidden_state", states}};
  }

 private:
  std::unique_ptr<T5Text> text_;
};

}  // namespace

std::unique_ptr<Component> load_vae_component(const ComponentSource& from, DType compute) {
  return std::make_unique<VaeComponent>(from, compute);
}

std::unique_ptr<Component> load_text_component(const ComponentSource& from, DType compute) {
  return std::make_unique<TextComponent>(from, compute);
}

std::unique_ptr<Component> load_t5_component(const ComponentSource& from, DType compute) {
  return std::make_unique<T5Component>(from, compute);
}

}  // namespace heddle
