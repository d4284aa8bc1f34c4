// Layers: weights from a Scope, called like functions. Ops hold no weights; models are made of these.
#pragma once

#include <span>

#include "kernels/layers/scope.h"
#include "kernels/ops/conv2d.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/norm.h"

namespace heddle {

enum class Bias : uint8_t { none, yes };

class Linear {
 public:
  Linear() = default;
  Linear(const Scope& scope, int64_t in, int64_t out, Bias bias = Bias::yes);
  // Several projections of one input joined into one product: outputs stand one after the other.
  static Linear joined(const std::vector<Scope>& scopes, int64_t in, int64_t out_each, Bias bias);
  // One projection of inputs that stand one after the other, cut into a layer for each of them: the sum of their
  // results is the projection's. The first has the bias.
  static std::vector<Linear> split(const Scope& scope, const std::vector<int64_t>& ins, int64_t out);
  // A 1x1 convolution [out,in,1,1] or a matrix [out,in] stored under the same names.
  static Linear matrix_or_1x1(const Scope& scope, int64_t in, int64_t out, Bias bias = Bias::yes);

  bool defined() const { return weight_.defined(); }
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const { return linear(x, weight_, residual); }
  // residual + gate * result, gate [B,out].
  Tensor gated(const Tensor& x, const Tensor& gate, const Tensor& residual) const {
    return gated_linear(x, weight_, gate, residual);
  }
  Tensor activated(const Tensor& x, Activation then) const { return activated_linear(x, weight_, then); }

 private:
  explicit Linear(LinearWeight weight) : weight_(std::move(weight)) {}
  LinearWeight weight_;
};

class Conv2d {
 public:
  Conv2d() = default;
  Conv2d(const Scope& scope, int64_t in, int64_t out, int64_t kernel, const ConvGeometry& geometry,
         Bias bias = Bias::yes);

  bool defined() const { return weight_.defined(); }
  Tensor operator()(const Tensor& x, const ConvAddends& plus = {}) const { return conv2d(x, weight_, plus); }

 private:
  ConvWeight weight_;
};

class GroupNorm {
 public:
  GroupNorm() = default;
  GroupNorm(const Scope& scope, int64_t channels, const GroupNormOptions& options);
  // `then` may be any activation here; the op joins silu only.
  Tensor operator()(const Tensor& x, std::span<const int64_t> pooled_with = {}) const {
    return activate(group_norm(x, gamma_, beta_, options_, pooled_with), separate_);
  }

 private:
  Tensor gamma_, beta_;
  GroupNormOptions options_;
  Activation separate_ = Activation::none;
};

class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(const Scope& scope, int64_t channels, double eps = 1e-5);
  Tensor operator()(const Tensor& x) const { return layer_norm(x, gamma_, beta_, eps_); }

 private:
  Tensor gamma_, beta_;
  double eps_ = 1e-5;
};

}  // namespace heddle
