// Where each word of a prompt was looked at: attention of the image to text summed over heads, sites and steps, as DAAM
// (Tang et al. 2022, arXiv 2210.04885) does, for any run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention_control/plan/builder.h"
#include "kernels/core/tensor.h"

namespace heddle {

// One word (or a run of pieces without a space) of one picture's prompt.
struct WordMap {
  std::string word;  // "cat", "cat#2"
  int64_t picture = 0;
  // [h,w] f32 on the latents' grid: mean probability over heads, sites and steps, bilinear between grids. At joint
  // sites among the prompt's keys alone, and the places that a word has by two encoders add up.
  Tensor map;
};

// A method that only reads: it captures the words' columns wherever the conditional branch looks at text. Between
// steps it keeps one map of the latents' size for each word and picture (64x64 latents, 20 words: 320 KiB a picture).
class WordMaps final : public Method {
 public:
  void declare(PlanBuilder& plan) override;
  std::vector<WordMap> maps() const;

 private:
  struct Word {
    std::string text;
    size_t begin = 0, end = 0;     // bytes of the prompt
    std::vector<int64_t> columns;  // among the captured ones
  };
  static std::vector<Word> words_of(const PromptTokens& prompt, std::vector<int64_t>& columns);
  void collect(const Captures& captures);

  std::vector<std::vector<Word>> words_;  // of each member
  std::vector<Tensor> sums_;              // of each row of the run, [1,h,w,words]
  std::vector<double> weights_;
  int64_t height_ = 0, width_ = 0, pictures_ = 1;
};

// DIR/maps.safetensors (tensors "PICTURE.WORD") and DIR/PICTURE-WORD.png: each map as a heat over its picture of
// `image` [n,3,H,W] in 0..1. Returns the paths.
std::vector<std::string> write_word_maps(const std::string& folder, const std::vector<WordMap>& maps,
                                         const Tensor& image);

}  // namespace heddle
