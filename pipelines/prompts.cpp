// What a run tells its network in each branch of guidance.
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"

namespace heddle {
namespace {

// One text per picture, from none, one for all, or as many as there are prompts.
std::vector<std::string> per_picture(const std::vector<std::string>& texts, const Preset& preset, const char* key) {
  const size_t prompts = preset.prompt.values.size();
  if (texts.size() != 1 && texts.size() != prompts) {
    fail(ErrorCode::usage, key, "one text or " + std::to_string(prompts), std::to_string(texts.size()));
  }
  std::vector<std::string> out;
  for (size_t p = 0; p < prompts; ++p)
    out.insert(out.end(), static_cast<size_t>(preset.images), texts[texts.size() == 1 ? 0 : p]);
  return out;
}

// Rows of pictures; nothing of what was not encoded.
TextStates rows_between(const TextStates& all, int64_t begin, int64_t end) {
  const auto cut = [&](const Tensor& x) { return x.defined() ? slice(x, 0, begin, end) : x; };
  return {cut(all.text), cut(all.pooled)};
}

}  // namespace

const std::string& Generation::source_prompt() const {
  const bool follows = preset_.source->prompt.empty() && control_.prompts();
  return follows ? preset_.prompt.values.front() : preset_.source->prompt;
}

void Generation::encode_prompts() {
  TextRequest request{
      .prompts = per_picture(preset_.prompt.values, preset_, "prompt"), .negatives = {}, .settings = preset_.text};
  if (!preset_.negative.values.empty()) request.negatives = per_picture(preset_.negative.values, preset_, "negative");
  const DenoiserTraits& traits = model_.traits();
  const bool guided_inversion = preset_.inversion && preset_.inversion->guidance.value_or(0) > 1;
  request.guided = guidance_.scale > 1 || guided_inversion || !preset_.attention.empty();
  // The source of an edit is one row more, so that its text is as long as the run's: methods share tokens of both.
  if (preset_.task == Task::edit) {
    request.prompts.push_back(source_prompt());
    if (request.negatives) request.negatives->push_back(preset_.negative.values.front());
  }
  const EncodedText all = encode_text(model_, request);
  const EncodedText text{rows_between(all.cond, 0, pictures_), rows_between(all.uncond, 0, pictures_)};
  if (preset_.task == Task::edit) {
    source_text_ = {rows_between(all.cond, pictures_, pictures_ + 1),
                    rows_between(all.uncond, pictures_, pictures_ + 1)};
  }
  cond_.text = text.cond.text;
  uncond_.text = text.uncond.text;
  if (traits.pooled) {
    cond_.text_embeds = text.cond.pooled;
    uncond_.text_embeds = text.uncond.pooled;
  }
  check_sizes();
  if (traits.time_ids) tell_sizes();
  cond_.guidance = uncond_.guidance = told_guidance(*preset_.sampler.guidance, pictures_);
}

// What models whose guidance is embedded are told of it; undefined for others.
Tensor Generation::told_guidance(double guidance, int64_t rows) {
  const DenoiserTraits& traits = model_.traits();
  if (traits.guidance_dim > 0) return embed_guidance(guidance, traits.guidance_dim, rows);
  return traits.guidance_scale ? Tensor::full({rows}, static_cast<float>(guidance)) : Tensor();
}

// The refiner reads a score where the base model reads the target size.
void Generation::check_sizes() const {
  const SdxlSettings& s = preset_.sdxl;
  const bool scored = model_.tells_aesthetic_score();
  const std::pair<const char*, bool> no_use[] = {{"target_size", scored && s.target_size},
                                                 {"negative_target_size", scored && s.negative_target_size},
                                                 {"aesthetic_score", !scored && s.aesthetic_score},
                                                 {"negative_aesthetic_score", !scored && s.negative_aesthetic_score}};
  for (const auto& [key, given] : no_use) {
    if (given)
      fail(ErrorCode::usage, std::string("sdxl.") + key, scored ? "none: the refiner is told a score" : "none", "one",
           scored ? "sdxl.aesthetic_score" : "SDXL's refiner, which alone is told a score");
  }
}

void Generation::tell_sizes() {
  const SdxlSettings& s = preset_.sdxl;
  const WidthHeight size = *preset_.size, corner{0, 0};
  MicroConditioning told{s.original_size.value_or(size), s.crop.value_or(corner), s.target_size.value_or(size)};
  MicroConditioning negative = told;
  if (model_.tells_aesthetic_score()) {
    told.aesthetic_score = s.aesthetic_score.value_or(6);
    negative = {s.negative_original_size.value_or(told.original), s.negative_crop.value_or(corner), size,
                s.negative_aesthetic_score.value_or(2.5)};
  } else if (s.negative_original_size && s.negative_target_size) {
    // As in diffusers, negative sizes count only where both are given.
    negative = {*s.negative_original_size, s.negative_crop.value_or(corner), *s.negative_target_size};
  }
  cond_.time_ids = time_ids(told, pictures_);
  uncond_.time_ids = time_ids(negative, pictures_);
}

}  // namespace heddle
