// T5's encoder, read top to bottom as the original.
#include "encoders/text_t5.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

// The bias of each pair of tokens depends on their distance alone, so that one row of 2N-1 numbers for each head, read
// from another place on for each class of keys, serves as the whole matrix. The last key is class 0.
ScoreTerm distance_term(const std::vector<float>& biases, const T5TextConfig& c, int64_t tokens) {
  const int64_t distances = 2 * tokens - 1;
  std::vector<float> rows(static_cast<size_t>(c.heads * distances));
  for (int64_t d = 0; d < distances; ++d) {  // query - key = d - (tokens - 1)
    const int64_t bucket = t5_bucket(tokens - 1 - d, c.buckets, c.farthest);
    for (int64_t h = 0; h < c.heads; ++h)
      rows[static_cast<size_t>(h * distances + d)] = biases[static_cast<size_t>(bucket * c.heads + h)];
  }
  std::vector<int64_t> classes(static_cast<size_t>(tokens));
  std::iota(classes.rbegin(), classes.rend(), 0);
  const Tensor all = Tensor::from(std::span<const float>(rows), {c.heads * distances});
  return {.key_class = Tensor::from(std::span<const int64_t>(classes), {1, tokens}),
          .rows = all.view({1, c.heads, tokens, tokens}, {c.heads * distances, distances, 1, 1}, 0)};  // [1,H,C,Nq]
}

// Two classes of keys: seen and hidden.
ScoreTerm mask_term(const Tensor& mask, const Tensor& states) {
  if (mask.rank() != 2 || mask.dim(0) != states.dim(0) || mask.dim(1) != states.dim(1)) {
    fail(ErrorCode::usage, "text encoder", "attention_mask " + Shape{states.dim(0), states.dim(1)}.text(),
         mask.shape().text());
  }
  std::vector<int64_t> hidden;
  if (mask.dtype() == DType::i64) {
    for (const int64_t value : mask.to_ids()) hidden.push_back(value == 0);
  } else {
    for (const float value : mask.to_vector()) hidden.push_back(value == 0);
  }
  for (auto row = hidden.begin(); row != hidden.end(); row += mask.dim(1)) {
    if (std::find(row, row + mask.dim(1), 0) == row + mask.dim(1))
      fail(ErrorCode::usage, "text encoder", "an attention_mask with a 1 in each row", "a row of zeros");
  }
  const float scores[] = {0, -std::numeric_limits<float>::infinity()};
  return {.key_class = Tensor::from(std::span<const int64_t>(hidden), mask.shape()),
          .rows = Tensor::from(std::span<const float>(scores), {1, 1, 2, 1})};
}

std::string two_digits(int64_t n) {
  return (n < 10 ? "0" : "") + std::to_string(n);
}

// Files hold the table under one of two names, or twice.
QuantizedMatrix take_tokens(const Scope& scope, const Shape& shape) {
  const Scope shared = scope / "shared", tied = scope / "encoder" / "embed_tokens";
  const bool is_shared = shared.has("weight") || !tied.has("weight");
  const Scope& named = is_shared ? shared : tied;
  const auto quantized = named.take_quantized("weight", shape);
  const bool as_stored = quantized && quantized->beside.empty();  // an adapted table is made whole
  const Tensor tokens = as_stored ? Tensor() : named.take("weight", shape);
  if (is_shared && tied.has("weight")) tied.take("weight", shape);
  if (as_stored) return quantized->matrix;
  return QuantizedMatrix::of(tokens.dtype() == DType::i64 ? to(tokens, DType::f32) : tokens);
}

}  // namespace

int64_t t5_bucket(int64_t relative, int64_t buckets, int64_t farthest) {
  const int64_t half = buckets / 2, exact = half / 2;  // distances below `exact` have a bucket each
  const int64_t distance = std::abs(relative);
  int64_t bucket = distance;
  if (distance >= exact) {  // in f32 as the original: the edges of buckets lie on powers of two
    const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                        static_cast<float>(std::log(static_cast<double>(farthest) / static_cast<double>(exact)));
    bucket = std::min(exact + static_cast<int64_t>(share * static_cast<float>(half - exact)), half - 1);
  }
  return bucket + (relative > 0 ? half : 0);
}

T5Text::Layer::Layer(const Scope& scope, const T5TextConfig& c, bool biased) : act(c.act), eps(c.eps) {
  const Scope attending = scope / "layer" / 0, feeding = scope / "layer" / 1;
  const Scope attention = attending / "SelfAttention", dense = feeding / "DenseReluDense";
  const int64_t joined = c.heads * c.head_dim;
  norm1 = (attending / "layer_norm").take_f32("weight", {c.width});
  qkv = Linear::joined({attention / "q", attention / "k", attention / "v"}, c.width, joined, Bias::none);
  out = Linear(attention / "o", joined, c.width, Bias::none);
  if (biased) biases = (attention / "relative_attention_bias").take_f32("weight", {c.buckets, c.heads}).to_vector();
  norm2 = (feeding / "layer_norm").take_f32("weight", {c.width});
  if (c.gated) gate = Linear(dense / "wi_0", c.width, c.inner, Bias::none);
  up = Linear(dense / (c.gated ? "wi_1" : "wi"), c.width, c.inner, Bias::none);
  down = Linear(dense / "wo", c.inner, c.width, Bias::none);
}

Tensor T5Text::Layer::feed_forward(const Tensor& x, const Tensor& residual) const {
  if (!gate.defined()) return down(activate(up(x), act), residual);
  return down(multiply(activate(gate(x), act), up(x)), residual);
}

Tensor T5Text::Layer::operator()(const Tensor& x, const AttentionSite& site, const SiteTokens& tokens,
                                 AttentionContext& context) const {
  const int64_t batch = x.dim(0), count = x.dim(1);
  const Tensor joined = reshape(qkv(rms_norm(x, norm1, eps)), {batch, count, 3 * site.heads, site.head_dim});
  const std::vector<Tensor> parts = split(joined, 2, 3);  // q, k, v [B,N,H,D]
  const Tensor seen = attend(site, tokens, parts[0], parts[1], parts[2], context);
  const Tensor h = out(reshape(seen, {batch, count, site.heads * site.head_dim}), x);  // [B,N,width]
  return feed_forward(rms_norm(h, norm2, eps), h);                                     // [B,N,width]
}

T5Text::T5Text(const T5TextConfig& config, const Scope& scope, const std::string& site)
    : config_(config), dtype_(scope.compute()) {
  tokens_ = take_tokens(scope, {config.vocabulary, config.width});
  const Scope encoder = scope / "encoder";
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_.emplace_back(encoder / "block" / i, config, i == 0 || config.bias_in_each_layer);
    sites_.push_back({.name = site + ".layer" + two_digits(i) + ".self",
                      .kind = AttentionKind::self,
                      .depth = static_cast<int>(i),
                      .heads = config.heads,
                      .head_dim = config.head_dim,
                      .scale = 1});
  }
  final_norm_ = (encoder / "final_layer_norm").take_f32("weight", {config.width});
}

Tensor T5Text::embed(const Tensor& ids) const {
  if (ids.dtype() != DType::i64 || ids.rank() != 2 || ids.count() == 0) {
    fail(ErrorCode::usage, "text encoder", "ids [B,N] i64",
         ids.shape().text() + " of " + std::string(name_of(ids.dtype())));
  }
  return embedding(tokens_, ids, dtype_);
}

Tensor T5Text::operator()(const Tensor& ids, const Tensor& mask, AttentionContext& context) const {
  return encode(embed(ids), mask, context);
}

Tensor T5Text::encode(const Tensor& embeddings, const Tensor& mask, AttentionContext& context) const {
  if (embeddings.rank() != 3 || embeddings.dim(2) != config_.width || embeddings.count() == 0) {
    fail(ErrorCode::usage, "text encoder", "embeddings [B,N," + std::to_string(config_.width) + "]",
         embeddings.shape().text());
  }
  const int64_t count = embeddings.dim(1);
  const TokenLayout text{{.name = "text", .width = count}};
  SiteTokens tokens{text, text, {{}}};  // the distances, then the mask
  if (mask.defined()) tokens.terms.push_back(mask_term(mask, embeddings));
  Tensor x = to(embeddings, dtype_);  // [B,N,width]
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::vector<float>& biases = layers_[i].biases;
    if (!biases.empty()) tokens.terms[0] = distance_term(biases, config_, count);
    x = layers_[i](x, sites_[i], tokens, context);
  }
  return to(rms_norm(x, final_norm_, config_.eps), DType::f32);
}

}  // namespace heddle
