// Layers take their tensors by name and pack them.
#include "kernels/layers/layers.h"

#include <algorithm>
#include <numeric>

#include "kernels/ops/view.h"

namespace heddle {

Scope Scope::operator/(const std::string& name) const {
  Scope inner = *this;
  inner.path_ = full(name);
  return inner;
}

Scope Scope::in(DType compute) const {
  Scope other = *this;
  other.compute_ = compute;
  return other;
}

bool Scope::has(const std::string& name) const {
  return source_->has(full(name));
}
Tensor Scope::take(const std::string& name, const Shape& shape) const {
  return source_->take(full(name), shape);
}

Tensor Scope::take_f32(const std::string& name, const Shape& shape) const {
  const Tensor stored = take(name, shape);
  // A copy even where the dtype agrees: small vectors must not hold pages of the file.
  const Tensor copy = stored.dtype() == DType::f32 ? concat({stored}, 0) : to(stored, DType::f32);
  release(stored);
  return copy;
}

namespace {

Tensor optional_bias(const Scope& scope, int64_t out, Bias bias) {
  return bias == Bias::yes ? scope.take_f32("bias", {out}) : Tensor();
}

}  // namespace

Linear::Linear(const Scope& scope, int64_t in, int64_t out, Bias bias) {
  if (const auto quantized = scope.take_quantized("weight", {out, in})) {
    weight_ = LinearWeight(*quantized, optional_bias(scope, out, bias), scope.compute());
    return;
  }
  const Tensor weight = scope.take("weight", {out, in});
  weight_ = LinearWeight(weight, optional_bias(scope, out, bias), scope.compute());
  scope.release(weight);
}

namespace {

// The matrices of all scopes, if any is quantised; others among them stay as they are stored, too.
std::optional<QuantizedWeight> joined_quantized(const std::vector<Scope>& scopes, const Shape& each) {
  std::vector<std::optional<QuantizedWeight>> stored;
  for (const Scope& scope : scopes) stored.push_back(scope.take_quantized("weight", each));
  if (std::ranges::none_of(stored, [](const auto& w) { return w.has_value(); })) return std::nullopt;
  std::vector<QuantizedWeight> all;
  for (size_t i = 0; i < scopes.size(); ++i)
    all.push_back(stored[i] ? *stored[i]
                            : QuantizedWeight{QuantizedMatrix::of(contiguous(scopes[i].take("weight", each)))});
  return stacked(all);
}

Tensor joined_bias(const std::vector<Scope>& scopes, int64_t out_each, Bias bias) {
  std::vector<Tensor> biases;
  if (bias == Bias::none) return {};
  for (const Scope& scope : scopes) biases.push_back(scope.take_f32("bias", {out_each}));
  return concat(biases, 0);
}

}  // namespace

Linear Linear::joined(const std::vector<Scope>& scopes, int64_t in, int64_t out_each, Bias bias) {
  const Tensor biases = joined_bias(scopes, out_each, bias);
  if (const auto quantized = joined_quantized(scopes, {out_each, in}))
    return Linear(LinearWeight(*quantized, biases, scopes[0].compute()));
  std::vector<Tensor> weights;
  for (const Scope& scope : scopes) weights.push_back(scope.take("weight", {out_each, in}));
  // Where some of them were adapted, these are f32 and the others as stored.
  std::vector<Tensor> alike = weights;
  const auto other = [&](const Tensor& w) { return w.dtype() != weights[0].dtype(); };
  if (std::ranges::any_of(weights, other))
    std::ranges::transform(weights, alike.begin(), [](const Tensor& w) { return to(w, DType::f32); });
  Linear layer(LinearWeight(concat(alike, 0), biases, scopes[0].compute()));
  for (size_t i = 0; i < weights.size(); ++i) scopes[i].release(weights[i]);
  return layer;
}

std::vector<Linear> Linear::split(const Scope& scope, const std::vector<int64_t>& ins, int64_t out) {
  const Shape shape{out, std::accumulate(ins.begin(), ins.end(), int64_t{0})};
  const auto quantized = scope.take_quantized("weight", shape);
  const Tensor weight = quantized ? Tensor() : scope.take("weight", shape);
  std::vector<Linear> layers;
  int64_t begin = 0;
  for (const int64_t in : ins) {
    const Tensor bias = layers.empty() ? scope.take_f32("bias", {out}) : Tensor();
    const int64_t end = begin + in;
    layers.push_back(Linear(quantized ? LinearWeight(columns_of(*quantized, begin, end), bias, scope.compute())
                                      : LinearWeight(slice(weight, 1, begin, end), bias, scope.compute())));
    begin = end;
  }
  if (!quantized) scope.release(weight);
  return layers;
}

Linear Linear::matrix_or_1x1(const Scope& scope, int64_t in, int64_t out, Bias bias) {
  const Tensor stored = scope.source().take_any(scope.path() + ".weight");
  const Shape filter{out, in, 1, 1}, matrix{out, in};
  const bool known = stored.shape() == filter || stored.shape() == matrix;
  const Tensor weight = known ? reshape(stored, matrix) : scope.take("weight", matrix);  // which names what is wrong
  Linear layer(LinearWeight(weight, optional_bias(scope, out, bias), scope.compute()));
  scope.release(stored);
  return layer;
}

Conv2d::Conv2d(const Scope& scope, int64_t in, int64_t out, int64_t kernel, const ConvGeometry& geometry, Bias bias) {
  const Tensor weight = scope.take("weight", {out, in, kernel, kernel});
  weight_ = ConvWeight(weight, optional_bias(scope, out, bias), geometry, scope.compute());
  scope.release(weight);
}

GroupNorm::GroupNorm(const Scope& scope, int64_t channels, const GroupNormOptions& options)
    : gamma_(scope.take_f32("weight", {channels})), beta_(scope.take_f32("bias", {channels})), options_(options) {
  if (options_.then != Activation::silu) std::swap(options_.then, separate_);
}

LayerNorm::LayerNorm(const Scope& scope, int64_t channels, double eps)
    : gamma_(scope.take_f32("weight", {channels})), beta_(scope.take_f32("bias", {channels})), eps_(eps) {}

}  // namespace heddle
