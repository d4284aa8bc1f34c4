// LoRAs laid over weights.
#include "io/lora.h"

#include <algorithm>
#include <cmath>

#include "io/lora_names.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr const char* weight_ending = ".weight";
constexpr const char* bias_ending = ".bias";

[[noreturn]] void fail_layer(const LoraLayer& layer, const std::string& wanted, const std::string& got,
                             const std::string& hint = "a LoRA made for this kind of model") {
  fail(ErrorCode::input, layer.written, wanted, got, hint);
}

Tensor as_matrix(const Tensor& x) {
  return reshape(contiguous(x), {x.dim(0), x.count() / x.dim(0)});
}

// up down, in the weight's shape. With mid (a CP decomposition): up [out,r] mid [r,r,kh,kw] down [r,in].
Tensor product(const LoraLayer& layer, const Shape& shape) {
  const Tensor up = as_matrix(layer.up), down = as_matrix(layer.down);  // [out,r], [r,in * kh * kw]
  if (!layer.mid.defined()) {
    if (up.dim(0) * down.dim(1) != shape.count() || up.dim(0) != shape[0])
      fail_layer(layer, "matrices for a weight " + shape.text(), up.shape().text() + " and " + down.shape().text());
    return reshape(matmul(up, down), shape);
  }
  const int64_t r = down.dim(0), taps = layer.mid.count() / (layer.mid.dim(0) * layer.mid.dim(1));
  if (up.dim(0) * down.dim(1) * taps != shape.count() || layer.mid.dim(0) != up.dim(1) || layer.mid.dim(1) != r)
    fail_layer(layer, "matrices for a weight " + shape.text(), "mid " + layer.mid.shape().text());
  const Tensor first = matmul(up, as_matrix(layer.mid));                                  // [out, r * taps]
  const Tensor turned = permute(reshape(first, {up.dim(0), r, taps}), {0, 2, 1});         // [out,taps,r]
  const Tensor mixed = matmul(reshape(contiguous(turned), {up.dim(0) * taps, r}), down);  // [out * taps, in]
  return reshape(contiguous(permute(reshape(mixed, {up.dim(0), taps, down.dim(1)}), {0, 2, 1})), shape);
}

// DoRA: each output's share of the sum, or each input's, gets the length that was learned for it.
Tensor with_magnitude(const LoraLayer& layer, const Tensor& sum) {
  const int64_t outputs = sum.dim(0), inputs = sum.dim(1);
  const bool columns = layer.magnitude_of_inputs;
  const int64_t wanted = columns ? inputs : outputs;
  if (layer.magnitude.count() != wanted)
    fail_layer(layer, std::to_string(wanted) + " magnitudes", layer.magnitude.shape().text());
  const Tensor parts = reshape(contiguous(sum), {outputs, inputs, sum.count() / (outputs * inputs)});
  const Tensor length = square_root(heddle::sum(square(parts), {columns ? 0 : 1, 2}, Axes::keep));
  const Tensor factor = divide(reshape(contiguous(layer.magnitude), length.shape()), length);
  return reshape(multiply(parts, factor), sum.shape());
}

// The rows of an adapted layer that are a piece of it.
LoraLayer piece_of(const LoraLayer& whole, const Piece& piece) {
  if (whole.magnitude_of_inputs && (piece.of > 1 || piece.change == Change::swapped_halves))
    fail_layer(whole, "magnitudes of outputs for a layer that is part of another", whole.magnitude.shape().text());
  const auto cut = [&](const Tensor& rows) {
    const int64_t count = rows.defined() ? rows.dim(0) : 0;
    const bool halves = piece.change == Change::swapped_halves;
    if (count % (halves ? 2 : piece.of) != 0)
      fail_layer(whole, "rows in " + std::to_string(halves ? 2 : piece.of) + " equal parts", rows.shape().text());
    if (!rows.defined()) return rows;
    if (halves) return concat({slice(rows, 0, count / 2, count), slice(rows, 0, 0, count / 2)}, 0);
    const int64_t share = count / piece.of;
    return contiguous(slice(rows, 0, piece.first * share, (piece.first + piece.count) * share));
  };
  LoraLayer out = whole;
  out.up = cut(whole.up);
  out.bias = cut(whole.bias);
  out.magnitude = cut(whole.magnitude);
  return out;
}

}  // namespace

LoraWeights::LoraWeights(WeightSource& base, const std::vector<std::string>& names, LoraPart part,
                         const std::vector<AskedLora>& loras)
    : base_(base) {
  const LoraNames layers(names, part);
  for (const AskedLora& lora : loras) {
    for (const auto& [written, layer] : lora.file->layers(part)) {
      const std::vector<LoraTarget>& targets = layers.find(written);
      if (targets.empty()) fail_layer(layer, "a layer of the model", "none of that name");
      for (const LoraTarget& target : targets) {
        if (layer.bias.defined() && std::ranges::find(names, target.layer + bias_ending) == names.end())
          fail_layer(layer, "no bias for a layer without one", "one");
        if (lora.weight != 0) deltas_[target.layer].push_back({piece_of(layer, target.piece), lora.weight});
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
    if (layer.magnitude.defined() || layer.mid.defined()) {
      fail_layer(layer, "a LoRA of two matrices over a quantised layer", layer.mid.defined() ? "three" : "a DoRA",
                 "a model that is not quantised");
    }
    const Tensor up = as_matrix(layer.up), down = as_matrix(layer.down);
    if (up.dim(0) != shape[0] || down.dim(1) != shape[1])
      fail_layer(layer, "matrices for a weight " + shape.text(), up.shape().text() + " and " + down.shape().text());
    weight->beside.push_back({down, scale(up, delta.weight * layer.scaling)});
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
    if (is_bias && !layer.bias.defined()) continue;
    const double factor = delta.weight * layer.scaling;
    const Tensor part = is_bias ? reshape(contiguous(layer.bias), weight.shape()) : product(layer, weight.shape());
    const Tensor stored = weight;
    weight = weighted_sum(1, to(contiguous(weight), DType::f32), factor, part);
    base_.release(stored);
    if (!is_bias && layer.magnitude.defined()) weight = with_magnitude(layer, weight);
  }
  return weight;
}

}  // namespace heddle
