// What families need, and the loading of it.
#include "pipelines/model.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/preset_file.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

Family family_of(const ModelFiles& files) {
  static const std::map<std::string, Family> known{{"StableDiffusionPipeline", Family::sd},
                                                   {"StableDiffusionImg2ImgPipeline", Family::sd},
                                                   {"StableDiffusionInpaintPipeline", Family::sd},
                                                   {"LatentConsistencyModelPipeline", Family::sd},
                                                   {"LatentConsistencyModelImg2ImgPipeline", Family::sd},
                                                   {"StableDiffusionXLPipeline", Family::sdxl},
                                                   {"StableDiffusionXLImg2ImgPipeline", Family::sdxl},
                                                   {"StableDiffusionXLInpaintPipeline", Family::sdxl},
                                                   {"StableDiffusion3Pipeline", Family::sd3},
                                                   {"StableDiffusion3Img2ImgPipeline", Family::sd3},
                                                   {"StableDiffusion3InpaintPipeline", Family::sd3},
                                                   {"FluxPipeline", Family::flux},
                                                   {"FluxImg2ImgPipeline", Family::flux},
                                                   {"FluxInpaintPipeline", Family::flux}};
  const std::string& name = files.pipeline();
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [each, family] : known) names.push_back(each);
  fail(ErrorCode::input, files.where() + " _class_name", "a pipeline of Stable Diffusion 1, 2, XL or 3 or of FLUX.1",
       name, nearest_word(name, names));
}

}  // namespace

Model::Model(ModelFiles files, DType compute, const ModelAdditions& additions)
    : files_(std::move(files)), compute_(compute), family_(family_of(files_)) {
  const bool second_alone = family_ == Family::sdxl && files_.lacks_first_encoder();
  if (!second_alone) clip_indices_.emplace_back("");
  if (family_ == Family::sdxl || family_ == Family::sd3) clip_indices_.emplace_back("_2");
  if (family_ == Family::sdxl) {
    zeros_for_no_negative_ = files_.zeros_for_empty_prompt();
    tells_aesthetic_score_ = files_.requires_aesthetic_score();
  }
  if (family_ == Family::flux) t5_index_ = "_2";
  if (family_ == Family::sd3 && files_.has("text_encoder_3")) t5_index_ = "_3";
  require_components();
  open_loras(additions.loras, additions.beside);
  open_embeddings(additions.embeddings, additions.beside);
}

std::unique_ptr<Model> Model::of(const Preset& preset, const std::string& preset_path) {
  return std::make_unique<Model>(ModelFiles::of(preset, preset_path),
                                 preset.dtype == Precision::bf16 ? DType::bf16 : DType::f32,
                                 ModelAdditions{preset.lora, preset.embeddings, preset_path});
}

void Model::require_components() const {
  std::vector<std::string> texts = clip_indices_, networks{denoiser_folder(family_), "vae"};
  if (has_t5()) texts.push_back(t5_index_);
  for (const std::string& index : texts) networks.push_back("text_encoder" + index);
  files_.require_known(networks);
  for (const std::string& component : networks) {
    if (!files_.has(component))
      fail(ErrorCode::input, files_.where(), "a component " + component, "none", files_.how_to_give(component));
  }
  for (const std::string& index : texts) files_.tokenizer("tokenizer" + index);
  files_.scheduler_where();
}

void Model::open_loras(const std::vector<LoraSettings>& loras, const std::string& beside) {
  for (const LoraSettings& l : loras) {
    loras_.push_back(
        {std::make_unique<LoraFile>(find_beside(l.file, beside)), l.weight, l.text_weight.value_or(l.weight)});
    LoraFile& file = *loras_.back().file;
    // To kohya's scripts T5 is the third text encoder of FLUX, too.
    if (family_ == Family::flux) file.reassign(LoraPart::text_encoder_3, LoraPart::text_encoder_2);
    const bool first = !file.layers(LoraPart::text_encoder).empty() && !clip_indices_.front().empty();
    const bool second = !file.layers(LoraPart::text_encoder_2).empty() && family_ == Family::sd;
    const bool third = !file.layers(LoraPart::text_encoder_3).empty() && t5_index_ != "_3";
    if (first || second || third)
      fail(ErrorCode::input, file.path(), "a LoRA for this model's text encoders", "layers of one that it has not",
           "a LoRA made for this kind of model");
  }
}

PartLoras Model::loras_of(LoraPart part) const {
  PartLoras out{.part = part};
  for (const OpenLora& l : loras_)
    out.loras.push_back({l.file.get(), part == LoraPart::denoiser ? l.weight : l.text_weight});
  return out;
}

// Vectors for any encoder are the first one's that is as wide, as diffusers gives them to the first.
void Model::open_embeddings(const std::vector<EmbeddingSettings>& embeddings, const std::string& beside) {
  learned_.resize(clip_indices_.size());
  for (const EmbeddingSettings& e : embeddings) {
    const LearnedWord word = read_learned_word(find_beside(e.file, beside), e.token);
    std::vector<int64_t> widths;
    for (const std::string& index : clip_indices_)
      widths.push_back(ClipTextConfig::from(files_.config("text_encoder" + index)).width);
    const auto give = [&](const LearnedVectors& to, size_t encoder) {
      if (!to.vectors.defined()) return;
      if (encoder >= widths.size())
        fail(ErrorCode::input, to.where, "vectors of this model's text encoders", "those of one that it has not",
             "a file made for this kind of model");
      if (to.vectors.dim(1) != widths[encoder])
        fail(ErrorCode::input, to.where, "vectors of " + std::to_string(widths[encoder]),
             std::to_string(to.vectors.dim(1)), "a file made for this kind of model");
      learned_[encoder].push_back({word.word, to});
    };
    const bool second_alone = clip_indices_.front() == "_2";
    give(word.clip_l, second_alone ? widths.size() : 0);
    give(word.clip_g, second_alone ? 0 : 1);
    const auto same = [&](int64_t width) { return word.any.vectors.defined() && width == word.any.vectors.dim(1); };
    const auto found = std::ranges::find_if(widths, same);
    give(word.any, found == widths.end() ? 0 : static_cast<size_t>(found - widths.begin()));
  }
  if (!embeddings.empty()) load_tokenizers();  // words that it has are refused before any network is loaded
}

const std::vector<ClipTokenizer>& Model::tokenizers() {
  const std::lock_guard lock(mutex_);
  load_tokenizers();
  return tokenizers_;
}

void Model::load_tokenizers() {
  for (size_t i = tokenizers_.size(); i < clip_indices_.size(); ++i) {
    ClipTokenizer tokenizer = ClipTokenizer::load(files_.tokenizer("tokenizer" + clip_indices_[i]));
    for (Learned& l : learned_[i]) l.first = tokenizer.learn({l.word, l.vectors.vectors.dim(0), l.vectors.where});
    tokenizers_.push_back(std::move(tokenizer));
  }
}

const std::vector<std::unique_ptr<ClipText>>& Model::text_encoders() {
  const std::lock_guard lock(mutex_);
  load_tokenizers();  // which give learned words their ids
  if (text_encoders_.empty()) {
    for (size_t i = 0; i < clip_indices_.size(); ++i) {
      const std::string& index = clip_indices_[i];
      const LoraPart part = index.empty() ? LoraPart::text_encoder : LoraPart::text_encoder_2;
      text_encoders_.push_back(
          load_component<ClipText, ClipTextConfig>(files_.open("text_encoder" + index), compute_, loras_of(part)));
      for (const Learned& l : learned_[i]) text_encoders_.back()->learn(l.first, l.vectors.vectors);
    }
  }
  return text_encoders_;
}

const T5Tokenizer& Model::t5_tokenizer() {
  const std::lock_guard lock(mutex_);
  if (!t5_tokenizer_) t5_tokenizer_ = T5Tokenizer::load(files_.tokenizer("tokenizer" + t5_index_));
  return *t5_tokenizer_;
}

const T5Text& Model::t5_encoder() {
  const std::lock_guard lock(mutex_);
  if (!t5_encoder_) {
    const LoraPart part = t5_index_ == "_3" ? LoraPart::text_encoder_3 : LoraPart::text_encoder_2;
    t5_encoder_ =
        load_component<T5Text, T5TextConfig>(files_.open("text_encoder" + t5_index_), compute_, loras_of(part));
  }
  return *t5_encoder_;
}

const OpenDenoiser& Model::opened_denoiser() {
  const std::lock_guard lock(mutex_);
  if (!denoiser_.network)
    denoiser_ = open_denoiser(files_.open(denoiser_folder(family_)), family_, compute_, loras_of(LoraPart::denoiser));
  return denoiser_;
}

VaeKl& Model::vae() {
  const std::lock_guard lock(mutex_);
  if (!vae_) vae_ = load_component<VaeKl, VaeConfig>(files_.open("vae"), compute_);
  return *vae_;
}

WidthHeight Model::sample_size() {
  const Json config = files_.config(denoiser_folder(family_));
  if (!config.has("sample_size")) return family_ == Family::sd ? WidthHeight{64, 64} : WidthHeight{128, 128};
  const Json size = config.get<Json>("sample_size");
  const auto edges = size.is_array() ? config.each<int64_t>("sample_size", 2)
                                     : std::vector<int64_t>(2, size.as<int64_t>());  // [height, width]
  for (const int64_t edge : edges) {
    if (edge < 1 || edge > 4096)
      fail(ErrorCode::input, config.where() + " sample_size", "1..4096", std::to_string(edge));
  }
  return {static_cast<int>(edges[1]), static_cast<int>(edges[0])};
}

}  // namespace heddle
