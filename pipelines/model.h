// A model, from wherever its components lie, opened once, its components loaded when they are first asked for.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "encoders/clip_tokenizer.h"
#include "encoders/t5_tokenizer.h"
#include "encoders/text_clip.h"
#include "encoders/text_t5.h"
#include "encoders/vae_kl.h"
#include "io/json.h"
#include "io/learned_vectors.h"
#include "io/preset.h"
#include "pipelines/model_files.h"
#include "pipelines/open_denoiser.h"

namespace heddle {

// What a preset lays over a model. `beside`: the preset, beside which files may lie.
struct ModelAdditions {
  std::vector<LoraSettings> loras = {};
  std::vector<EmbeddingSettings> embeddings = {};
  std::string beside = {};
};

class Model {
 public:
  // Error(input) for a pipeline of another family than these, for components that are nowhere, and for LoRAs with
  // layers, and words with vectors, that no component has.
  Model(ModelFiles files, DType compute, const ModelAdditions& additions = {});
  // Of a diffusers folder or a file.
  Model(const std::string& path, DType compute) : Model(ModelFiles({.model = path}), compute) {}
  // Of a preset.
  static std::unique_ptr<Model> of(const Preset& preset, const std::string& preset_path);

  Family family() const { return family_; }
  const std::string& pipeline() const { return files_.pipeline(); }  // diffusers' class
  // SDXL: no negative prompt stands for zeros instead of the empty text.
  bool zeros_for_no_negative() const { return zeros_for_no_negative_; }

  // SDXL's refiner: told an aesthetic score in place of the target size.
  bool tells_aesthetic_score() const { return tells_aesthetic_score_; }

  // CLIP's: one tokenizer and encoder, or the two of SDXL and SD3, of its refiner the second.
  const std::vector<ClipTokenizer>& tokenizers();
  const std::vector<std::unique_ptr<ClipText>>& text_encoders();
  // T5's of SD3 and FLUX. SD3 may do without it.
  bool has_t5() const { return !t5_index_.empty(); }
  const T5Tokenizer& t5_tokenizer();
  const T5Text& t5_encoder();

  const Denoiser& denoiser() { return *opened_denoiser().network; }
  const DenoiserTraits& traits() { return opened_denoiser().traits; }
  VaeKl& vae();
  WidthHeight sample_size();  // latent pixels that the denoiser was made for

  const SamplerAdvice& advice() const { return files_.advice(); }
  std::string scheduler_text() const { return files_.scheduler_text(); }
  std::string scheduler_where() const { return files_.scheduler_where(); }  // for messages

 private:
  struct OpenLora {
    std::unique_ptr<LoraFile> file;
    double weight, text_weight;
  };
  // Words of one of CLIP's encoders.
  struct Learned {
    std::string word;
    LearnedVectors vectors;
    int64_t first = 0;  // id of the first vector
  };
  void require_components() const;
  void open_loras(const std::vector<LoraSettings>& loras, const std::string& beside);
  void open_embeddings(const std::vector<EmbeddingSettings>& embeddings, const std::string& beside);
  void load_tokenizers();
  PartLoras loras_of(LoraPart part) const;
  const OpenDenoiser& opened_denoiser();

  ModelFiles files_;
  DType compute_;
  std::vector<OpenLora> loras_;
  std::vector<std::vector<Learned>> learned_;  // of each of CLIP's encoders
  Family family_ = Family::sd;
  std::vector<std::string> clip_indices_;  // what stands behind "tokenizer" and "text_encoder" of CLIP: "", "_2"
  std::string t5_index_;  // what stands behind "tokenizer" and "text_encoder" of T5: "_3" of SD3, "_2" of FLUX
  bool zeros_for_no_negative_ = false, tells_aesthetic_score_ = false;
  std::mutex mutex_;
  std::vector<ClipTokenizer> tokenizers_;
  std::vector<std::unique_ptr<ClipText>> text_encoders_;
  std::optional<T5Tokenizer> t5_tokenizer_;
  std::unique_ptr<T5Text> t5_encoder_;
  OpenDenoiser denoiser_;
  std::unique_ptr<VaeKl> vae_;
};

}  // namespace heddle
