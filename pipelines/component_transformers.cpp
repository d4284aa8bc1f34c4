// SD3Transformer2DModel and FluxTransformer2DModel on named tensors.
#include "pipelines/component_transformers.h"

#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/load_component.h"
#include "unet_dit/flux.h"
#include "unet_dit/sd3.h"

namespace heddle {
namespace {

using Named = std::vector<std::pair<std::string, Tensor>>;

Tensor f32_input(const TensorMap& inputs, const char* name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? Tensor() : to(found->second, DType::f32);
}

// One value for all rows, or one for each.
Tensor for_rows(const Tensor& values, int64_t rows) {
  return values.defined() && values.count() == 1 ? repeat(reshape(values, {1}), 0, rows) : values;
}

// The original takes coordinates of a batch, too, and reads its first row.
Tensor ids_input(const TensorMap& inputs, const char* name) {
  const Tensor ids = f32_input(inputs, name);
  if (ids.rank() == 3 && ids.dim(0) > 0) return reshape(slice(ids, 0, 0, 1), {ids.dim(1), ids.dim(2)});
  return ids;
}

Conditioning conditioning_of(const TensorMap& inputs) {
  return {.text = f32_input(inputs, "encoder_hidden_states"), .text_embeds = f32_input(inputs, "pooled_projections")};
}

class SD3Component final : public Component {
 public:
  SD3Component(const ComponentSource& from, DType compute)
      : network_(load_component<SD3Transformer, SD3Config>(from, compute)) {}
  std::string class_name() const override { return "SD3Transformer2DModel"; }

 protected:
  Signature signature(const TensorMap&) const override {
    return {"hidden_states", {"encoder_hidden_states", "pooled_projections", "timestep"}, {"skip_layers"}};
  }

  Named forward(const TensorMap& inputs) const override {
    const Tensor x = f32_input(inputs, "hidden_states");
    Conditioning conditioning = conditioning_of(inputs);
    if (inputs.contains("skip_layers")) {
      const Tensor& skip = inputs.at("skip_layers");
      if (skip.dtype() != DType::i64)
        fail(ErrorCode::usage, "eval skip_layers", "indices of blocks as i64", name_of(skip.dtype()));
      conditioning.skip_blocks = skip.to_ids();
    }
    const Tensor times = for_rows(f32_input(inputs, "timestep"), x.rank() > 0 ? x.dim(0) : 1);
    AttentionContext context;
    return {{"sample", (*network_)(x, times, conditioning, context)}};
  }

 private:
  std::unique_ptr<SD3Transformer> network_;
};

class FluxComponent final : public Component {
 public:
  FluxComponent(const ComponentSource& from, DType compute)
      : network_(load_component<FluxTransformer, FluxConfig>(from, compute)) {}
  std::string class_name() const override { return "FluxTransformer2DModel"; }

 protected:
  Signature signature(const TensorMap&) const override {
    return {"hidden_states",
            {"encoder_hidden_states", "pooled_projections", "timestep", "img_ids", "txt_ids"},
            {"guidance"}};
  }

  Named forward(const TensorMap& inputs) const override {
    const FluxTokens tokens{f32_input(inputs, "hidden_states"), ids_input(inputs, "img_ids"),
                            ids_input(inputs, "txt_ids")};
    const int64_t rows = tokens.image.rank() > 0 ? tokens.image.dim(0) : 1;
    Conditioning conditioning = conditioning_of(inputs);
    conditioning.guidance = for_rows(f32_input(inputs, "guidance"), rows);
    AttentionContext context;
    const Tensor times = for_rows(f32_input(inputs, "timestep"), rows);
    return {{"sample", network_->predict(tokens, times, conditioning, context)}};
  }

 private:
  std::unique_ptr<FluxTransformer> network_;
};

}  // namespace

std::unique_ptr<Component> load_sd3_component(const ComponentSource& from, DType compute) {
  return std::make_unique<SD3Component>(from, compute);
}

std::unique_ptr<Component> load_flux_component(const ComponentSource& from, DType compute) {
  return std::make_unique<FluxComponent>(from, compute);
}

}  // namespace heddle
