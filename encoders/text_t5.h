// The encoder of T5 (Raffel et al. 2020; v1.1 with the gated feed-forward of Shazeer 2020), as T5EncoderModel and
// UMT5EncoderModel of transformers have it: pre-norm layers with RMS norms and no biases, scores that are not scaled
// but carry a learned bias for each distance between two tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "io/json.h"
#include "kernels/layers/layers.h"
#include "kernels/ops/activation.h"

namespace heddle {

struct T5TextConfig {
  int64_t vocabulary = 32128, width = 512, inner = 2048, layers = 6;
  int64_t heads = 8, head_dim = 64;  // heads * head_dim need not be the width
  int64_t buckets = 32;              // of distances: half of them for keys behind the query
  int64_t farthest = 128;            // from here on all distances share a bucket
  Activation act = Activation::relu;
  bool gated = false;
  bool bias_in_each_layer = false;  // UMT5EncoderModel; otherwise the first layer's serves all
  double eps = 1e-6;

  // config.json of the component. Error(input) naming a key that is unknown or out of range.
  static T5TextConfig from(const Json& json);
};

class T5Text {
 public:
  // `site` is the prefix of the attention sites: "text.layer03.self".
  T5Text(const T5TextConfig& config, const Scope& scope, const std::string& site = "text");

  const std::vector<AttentionSite>& sites() const { return sites_; }
  const T5TextConfig& config() const { return config_; }

  // ids [B,N] i64; mask [B,N] of any dtype, 0 where nobody may look, or undefined -> last_hidden_state [B,N,width] f32.
  // Error(usage) for other shapes or a row that the mask hides whole, Error(input) for an id outside the vocabulary.
  Tensor operator()(const Tensor& ids, const Tensor& mask, AttentionContext& context) const;
  // The same from the embeddings [B,N,width] on; differentiable in them.
  Tensor encode(const Tensor& embeddings, const Tensor& mask, AttentionContext& context) const;
  Tensor embed(const Tensor& ids) const;  // [B,N,width] in the dtype of the computation

 private:
  struct Layer {
    Layer(const Scope& scope, const T5TextConfig& config, bool biased);
    Tensor operator()(const Tensor& x, const AttentionSite& site, const SiteTokens& tokens,
                      AttentionContext& context) const;
    Tensor feed_forward(const Tensor& x, const Tensor& residual) const;

    Tensor norm1, norm2;        // [width]
    std::vector<float> biases;  // [buckets,heads]; empty where the layer has none of its own
    Linear qkv, out, gate, up, down;
    Activation act;
    double eps;
  };

  T5TextConfig config_;
  std::vector<AttentionSite> sites_;
  std::vector<Layer> layers_;
  QuantizedMatrix tokens_;  // as stored, borrowed: only the rows of ids in use enter memory
  Tensor final_norm_;
  DType dtype_;
};

// The bucket of a key that stands `relative` places behind the query (negative: before it).
int64_t t5_bucket(int64_t relative, int64_t buckets, int64_t farthest);

}  // namespace heddle
