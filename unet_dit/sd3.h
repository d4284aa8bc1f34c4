// SD3Transformer2DModel: the denoiser of Stable Diffusion 3 and 3.5 (Esser et al. 2024). Image and text tokens keep
// their own weights and meet in one attention in each block.
#pragma once

#include <optional>

#include "unet_dit/adaln.h"
#include "unet_dit/blocks.h"
#include "unet_dit/denoiser.h"
#include "unet_dit/joint_attention.h"
#include "unet_dit/sd3_config.h"

namespace heddle {

class SD3Transformer final : public Denoiser {
 public:
  // Takes every tensor it needs from `scope`; the caller asks the source for surplus ones.
  SD3Transformer(const SD3Config& config, const Scope& scope);

  const SD3Config& config() const { return config_; }
  const std::vector<AttentionSite>& sites() const override { return sites_.all(); }
  std::vector<SiteTokens> site_tokens(int64_t height, int64_t width, int64_t text) const override;
  // Rows and columns beyond the last whole patch are left out of the prediction, as in the original.
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                    AttentionContext& context) const override;

  // Gradients then keep one block's activations at a time and compute the others twice.
  void set_checkpointing(bool on) { checkpointing_ = on; }

 private:
  struct Tokens {
    SiteTokens joint, self;
  };
  // What all blocks of one evaluation share.
  struct BlockInput {
    Tensor condition;  // [B,C]
    Tokens tokens;
    AttentionContext* context = nullptr;
  };
  class Block {
   public:
    struct Options {
      int64_t width = 0, heads = 1;
      bool qk_norm = false, dual = false, last = false;
      int64_t text_in = 0;  // features of the text states that are brought to `width` for it: the first block's
      std::string site;
    };
    Block(const Scope& scope, const Options& options, SiteList& sites);
    // The last one ends the text's stream; without one (undefined) a plan holds what it would give.
    Streams operator()(const Streams& x, const BlockInput& input) const;
    bool dual() const { return self_.has_value(); }
    const AttentionSite& joint() const { return joint_.site; }

   private:
    static TokenStream text_stream(const Options& options);
    Linear modulate_image_, modulate_text_;
    JointAttention joint_;
    std::optional<JointAttention> self_;
    Linear out_, out_text_, out_self_;
    FeedForward ff_, ff_text_;
    bool last_;
  };

  static Tokens tokens(int64_t rows, int64_t columns, int64_t text);
  void check_input(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning) const;
  Tensor positions(int64_t rows, int64_t columns) const;  // [1,rows*columns,C]
  Streams run(const Block& block, const Streams& x, const BlockInput& input) const;
  Tensor unpatchify(const Tensor& x, int64_t rows, int64_t columns) const;

  SD3Config config_;
  DType dtype_;
  bool checkpointing_ = false;
  SiteList sites_;
  Conv2d patches_;
  Tensor position_table_;  // [1,S*S,C] as stored; undefined: computed
  ConditionEmbedding condition_;
  Linear text_in_;
  std::vector<Block> blocks_;
  FinalNorm norm_out_;
  Linear out_;
};

}  // namespace heddle
