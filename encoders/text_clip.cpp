// CLIP's text encoder, read top to bottom as the original.
#include "encoders/text_clip.h"

#include <algorithm>
#include <numeric>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

// Files are written with and without the name of the inner model.
Scope inner_model(const Scope& scope) {
  return scope.has("text_model.embeddings.token_embedding.weight") ? scope / "text_model" : scope;
}

std::string two_digits(int64_t n) {
  return (n < 10 ? "0" : "") + std::to_string(n);
}

}  // namespace

ClipText::Layer::Layer(const Scope& scope, const ClipTextConfig& c)
    : norm1(scope / "layer_norm1", c.width, c.eps), norm2(scope / "layer_norm2", c.width, c.eps), act(c.act) {
  const Scope attention = scope / "self_attn";
  qkv = Linear::joined({attention / "q_proj", attention / "k_proj", attention / "v_proj"}, c.width, c.width, Bias::yes);
  out = Linear(attention / "out_proj", c.width, c.width);
  up = Linear(scope / "mlp" / "fc1", c.width, c.inner);
  down = Linear(scope / "mlp" / "fc2", c.inner, c.width);
}

Tensor ClipText::Layer::operator()(const Tensor& x, const AttentionSite& site, AttentionContext& context) const {
  const int64_t batch = x.dim(0), tokens = x.dim(1);
  const TokenLayout text{{.name = "text", .width = tokens}};
  const Tensor joined = reshape(qkv(norm1(x)), {batch, tokens, 3 * site.heads, site.head_dim});
  const std::vector<Tensor> parts = split(joined, 2, 3);  // q, k, v [B,T,H,D]
  const Tensor seen = attend(site, {text, text}, parts[0], parts[1], parts[2], context);
  const Tensor h = out(reshape(seen, x.shape()), x);  // [B,T,width]
  return down(activate(up(norm2(h)), act), h);        // [B,T,width]
}

ClipText::ClipText(const ClipTextConfig& config, const Scope& scope, const std::string& site)
    : config_(config), dtype_(scope.compute()) {
  const Scope model = inner_model(scope), embeddings = model / "embeddings";
  tokens_ = (embeddings / "token_embedding").take("weight", {config.vocabulary, config.width});
  positions_ = (embeddings / "position_embedding").take("weight", {config.positions, config.width});
  // Older files carry 0, 1, 2 ... as a tensor.
  if (embeddings.has("position_ids")) embeddings.take("position_ids", {1, config.positions});
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_.emplace_back(model / "encoder" / "layers" / i, config);
    sites_.push_back({.name = site + ".layer" + two_digits(i) + ".self",
                      .kind = AttentionKind::self,
                      .depth = static_cast<int>(i),
                      .heads = config.heads,
                      .head_dim = config.width / config.heads,
                      .causal = true});
  }
  final_norm_ = LayerNorm(model / "final_layer_norm", config.width, config.eps);
  if (config.projects) projection_ = Linear(scope / "text_projection", config.width, config.projection, Bias::none);
}

void ClipText::learn(int64_t first, const Tensor& vectors) {
  for (int64_t i = 0; i < vectors.dim(0); ++i)
    learned_[first + i] = to(contiguous(slice(vectors, 0, i, i + 1)), dtype_);
}

Tensor ClipText::embedded(const Tensor& ids) const {
  std::vector<int64_t> known = ids.to_ids(), rows(known.size());
  std::vector<Tensor> all{Tensor()};
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t i = 0; i < known.size(); ++i) {
    const auto found = learned_.find(known[i]);
    if (found == learned_.end()) continue;
    known[i] = 0;
    rows[i] = static_cast<int64_t>(known.size() + all.size()) - 1;
    all.push_back(found->second);
  }
  const Tensor table = embedding(tokens_, Tensor::from(known, ids.shape()), dtype_);
  if (all.size() == 1) return table;
  all.front() = reshape(table, {ids.count(), config_.width});
  return reshape(gather(concat(all, 0), 0, rows), table.shape());
}

ClipTextOutput ClipText::operator()(const Tensor& ids, AttentionContext& context) const {
  if (ids.dtype() != DType::i64 || ids.rank() != 2 || ids.count() == 0 || ids.dim(1) > config_.positions) {
    fail(ErrorCode::usage, "text encoder", "ids [B,T] with T up to " + std::to_string(config_.positions),
         ids.shape().text() + " of " + std::string(name_of(ids.dtype())));
  }
  std::vector<int64_t> places(static_cast<size_t>(ids.dim(1)));
  std::iota(places.begin(), places.end(), 0);
  const Tensor position = embedding(positions_, Tensor::from(places, {1, ids.dim(1)}), dtype_);
  Tensor x = add(embedded(ids), position);  // [B,T,width]
  ClipTextOutput output;
  output.hidden_states.push_back(to(x, DType::f32));
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = layers_[i](x, sites_[i], context);
    output.hidden_states.push_back(to(x, DType::f32));
  }
  const Tensor states = final_norm_(x);
  const Tensor pooled = pool(states, ids);
  output.last_hidden_state = to(states, DType::f32);
  output.pooler_output = to(pooled, DType::f32);
  if (projection_.defined()) output.text_embeds = to(projection_(pooled), DType::f32);
  return output;
}

Tensor ClipText::pool(const Tensor& states, const Tensor& ids) const {
  const int64_t batch = ids.dim(0), tokens = ids.dim(1);
  const std::vector<int64_t> all = ids.to_ids();
  std::vector<int64_t> ends;
  for (int64_t row = 0; row < batch; ++row) {
    const auto begin = all.begin() + row * tokens, end = begin + tokens;
    const auto found = config_.eos == 2 ? std::max_element(begin, end) : std::find(begin, end, config_.eos);
    ends.push_back(row * tokens + (found == end ? 0 : found - begin));
  }
  return gather(reshape(states, {batch * tokens, config_.width}), 0, ends);  // [B,width]
}

Tensor ClipText::skipped_plain(const ClipTextOutput& output, int64_t skip) const {
  if (skip < 0 || skip >= config_.layers) {
    fail(ErrorCode::usage, "clip_skip", "0 to " + std::to_string(config_.layers - 1), std::to_string(skip));
  }
  return output.hidden_states[static_cast<size_t>(config_.layers - 1 - skip)];
}

Tensor ClipText::skipped_normalised(const ClipTextOutput& output, int64_t skip) const {
  if (skip == 0) return output.last_hidden_state;
  if (skip < 0 || skip > config_.layers) {
    fail(ErrorCode::usage, "clip_skip", "0 to " + std::to_string(config_.layers), std::to_string(skip));
  }
  const Tensor& state = output.hidden_states[static_cast<size_t>(config_.layers - skip)];
  return to(final_norm_(to(state, dtype_)), DType::f32);
}

}  // namespace heddle
