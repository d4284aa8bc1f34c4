// The text encoder of CLIP (Radford et al. 2021, 2.4), as CLIPTextModel and CLIPTextModelWithProjection of transformers
// have it: token and position embeddings, pre-norm transformer layers with a causal mask, a final norm, and the state
// at the end token as the summary of the text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "io/json.h"
#include "kernels/layers/layers.h"
#include "kernels/ops/activation.h"

namespace heddle {

struct ClipTextConfig {
  int64_t vocabulary = 49408, width = 512, inner = 2048, layers = 12, heads = 8, positions = 77;
  int64_t projection = 512;
  bool projects = false;  // CLIPTextModelWithProjection
  int64_t eos = 49407;    // 2, which old files state wrongly, means: the largest id of a row is its end
  Activation act = Activation::quick_gelu;
  double eps = 1e-5;

  // config.json of the component. Error(input) naming a key that is unknown or out of range.
  static ClipTextConfig from(const Json& json);
};

struct ClipTextOutput {
  std::vector<Tensor> hidden_states;  // layers + 1 of [B,T,width]: the embeddings, then each layer, not normalised
  Tensor last_hidden_state;           // [B,T,width], the last of them normalised
  Tensor pooler_output;               // [B,width]: last_hidden_state at the first end token (at 0 where there is none)
  Tensor text_embeds;                 // [B,projection]; undefined without projection

  // hidden_states[-2], what SDXL conditions on.
  const Tensor& penultimate() const { return hidden_states[hidden_states.size() - 2]; }
};

class ClipText {
 public:
  // `site` is the prefix of the attention sites: "text.layer03.self". Tensor names with and without "text_model.".
  ClipText(const ClipTextConfig& config, const Scope& scope, const std::string& site = "text");

  const std::vector<AttentionSite>& sites() const { return sites_; }
  const ClipTextConfig& config() const { return config_; }

  // Ids that stand for these vectors [n,width], from `first` on, whatever the table has there: textual inversion.
  void learn(int64_t first, const Tensor& vectors);

  // ids [B,T] i64, 1 <= T <= positions; all outputs f32. Error(usage) for another shape, Error(input) for an id outside
  // the vocabulary.
  ClipTextOutput operator()(const Tensor& ids, AttentionContext& context) const;

  // The state `skip` layers before the last: as SDXL's pipelines take it, plain (penultimate is its 0); as SD1's and
  // SD2's, normalised (last_hidden_state is its 0). Error(usage) for more layers than there are.
  Tensor skipped_plain(const ClipTextOutput& output, int64_t skip) const;
  Tensor skipped_normalised(const ClipTextOutput& output, int64_t skip) const;

 private:
  struct Layer {
    Layer(const Scope& scope, const ClipTextConfig& config);
    Tensor operator()(const Tensor& x, const AttentionSite& site, AttentionContext& context) const;
    LayerNorm norm1, norm2;
    Linear qkv, out, up, down;
    Activation act;
  };
  Tensor embedded(const Tensor& ids) const;  // [B,T,width], positions left out
  Tensor pool(const Tensor& states, const Tensor& ids) const;

  ClipTextConfig config_;
  std::vector<AttentionSite> sites_;
  std::vector<Layer> layers_;
  Tensor tokens_, positions_;          // tables as stored, borrowed: only the rows of ids in use enter memory
  std::map<int64_t, Tensor> learned_;  // by id, [1,width]
  LayerNorm final_norm_;
  Linear projection_;
  DType dtype_;
};

}  // namespace heddle
