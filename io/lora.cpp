// Adaptations laid over weights.
#include "io/lora.h"

#include <algorithm>

#include "io/lora_names.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr const char* weight_ending = ".weight";
constexpr const char* bias_ending = ".bias";

}  // namespace

LoraWeights::LoraWeights(WeightSource& base, const std::vector<std::string>& names, LoraPart part,
                         const std::vector<AskedLora>& loras)
    : base_(base) {
  const LoraNames layers(names, part);
  for (const AskedLora& lora : loras) {
    for (const auto& [written, layer] : lora.file->layers(part)) {
      const std::vector<LoraTarget>& targets = layers.find(written);
      if (targets.empty()) layer.fail_layer("a layer of the model", "none of that name");
      for (const LoraTarget& target : targets) {
        const bool changes_bias = layer.bias.defined() || layer.bias_difference.defined();
        if (changes_bias && std::ranges::find(names, target.layer + bias_ending) == names.end())
          layer.fail_layer("no bias for a layer without one", "one");
        const Piece& piece = target.piece;
        const LoraRows rows{piece.first, piece.count, piece.of, piece.change == Change::swapped_halves};
        if (lora.weight != 0) deltas_[target.layer].push_back({layer.part(rows), lora.weight});
      }
    }
  }
}

bool LoraWeights::has(const std::string& name) const {
  return base_.has(name);
}

Tensor LoraWeights::take(const std::string& name, const Shape& shape) {
  return adapted(name, base_.take(name, shape));
}

Tensor LoraWeights::take_any(const std::string& name) {
  return adapted(name, base_.take_any(name));
}

std::optional<QuantizedWeight> LoraWeights::take_quantized(const std::string& name, const Shape& shape) {
  auto weight = base_.take_quantized(name, shape);
  const auto found = deltas_.find(name.substr(0, name.rfind('.')));
  if (!weight || found == deltas_.end()) return weight;
  for (const Delta& delta : found->second) {
    const LoraLayer& layer = delta.layer;
    if (!layer.kind) continue;
    if (layer.magnitude.defined() || *layer.kind != LoraKind::low_rank || layer.first.core.defined()) {
      layer.fail_layer("a LoRA of two matrices over a quantised layer",
                       layer.magnitude.defined()    ? "a DoRA"
                       : layer.first.core.defined() ? "three"
                                                    : "a LoHa, a LoKr or a whole difference",
                       "a model that is not quantised");
    }
    layer.require_fit(shape);
    weight->beside.push_back({layer.first.right(), scale(layer.first.left(), delta.weight * layer.scaling)});
  }
  return weight;
}

void LoraWeights::release(const Tensor& tensor) {
  base_.release(tensor);
}

Tensor LoraWeights::adapted(const std::string& name, Tensor weight) const {
  const bool is_bias = name.ends_with(bias_ending);
  const size_t dot = name.rfind('.');
  const auto found = deltas_.find(name.substr(0, dot));
  if (found == deltas_.end() || (!is_bias && !name.ends_with(weight_ending))) return weight;
  for (const Delta& delta : found->second) {
    const LoraLayer& layer = delta.layer;
    const auto add = [&](double factor, const Tensor& part) {
      const Tensor stored = weight;
      weight = weighted_sum(1, to(contiguous(weight), DType::f32), factor, part);
      base_.release(stored);
    };
    if (is_bias) {
      for (const auto& [factor, part] : {std::pair{layer.scaling, layer.bias}, {1.0, layer.bias_difference}})
        if (part.defined()) add(delta.weight * factor, layer.bias_part(part, weight.shape()));
    } else if (layer.kind) {
      add(delta.weight * layer.scaling, layer.difference(weight.shape()));
      if (layer.magnitude.defined()) weight = layer.with_magnitude(weight);
    }
  }
  return weight;
}

}  // namespace heddle
