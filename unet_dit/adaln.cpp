// The condition and its norms. Source: diffusers' normalization and embeddings.
#include "unet_dit/adaln.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t sinusoid_dim = 256;

}  // namespace

ConditionEmbedding::ConditionEmbedding(const Scope& scope, const Options& o)
    : dtype_(scope.compute()),
      time_(scope / "timestep_embedder", sinusoid_dim, o.width, Activation::silu),
      text_(scope / "text_embedder", o.pooled_dim, o.width, Activation::silu),
      guided_(o.guidance) {
  if (guided_) guidance_ = EmbeddingMlp(scope / "guidance_embedder", sinusoid_dim, o.width, Activation::silu);
}

Tensor ConditionEmbedding::operator()(const Tensor& times, const Tensor& guidance, const Tensor& pooled) const {
  const auto embed = [&](const EmbeddingMlp& mlp, const Tensor& values) {
    return mlp(to(sinusoid(values.detach(), {.dim = sinusoid_dim}), dtype_));
  };
  Tensor sum = embed(time_, times);
  if (guided_ && guidance.defined()) sum = add(sum, embed(guidance_, guidance));
  return activate(add(sum, text_(to(pooled.detach(), dtype_))), Activation::silu);
}

std::vector<Tensor> modulation_parts(const Linear& from, const Tensor& condition, int64_t parts) {
  return split(from(condition), 1, parts);
}

Tensor FinalNorm::operator()(const Tensor& x, const Tensor& condition) const {
  const std::vector<Tensor> m = modulation_parts(linear_, condition, 2);
  return modulated_norm(x, {.shift = m[1], .scale = m[0]}, mmdit_eps);
}

}  // namespace heddle
