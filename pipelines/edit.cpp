// Task edit: a picture turned into noise, and what holds its rows to it.
#include <algorithm>

#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"
#include "pipelines/inversion.h"

namespace heddle {

// The source's own run: its prompt alone.
GuidedNetwork::Parts Generation::source_parts(double guidance) {
  const std::string& prompt = !preset_.source->prompt.empty() ? preset_.source->prompt
                              : control_.prompts()            ? preset_.prompt.values.front()
                                                              : "";
  TextRequest request{.prompts = {prompt}, .negatives = {}, .settings = preset_.text};
  if (!preset_.negative.values.empty()) request.negatives = {preset_.negative.values.front()};
  const EncodedText text = encode_text(model_, request);
  Conditioning cond{.text = text.cond.text}, uncond{.text = text.uncond.text};
  if (cond_.time_ids.defined())
    cond.time_ids = slice(cond_.time_ids, 0, 0, 1), uncond.time_ids = slice(uncond_.time_ids, 0, 0, 1);
  if (cond_.text_embeds.defined()) cond.text_embeds = text.cond.pooled, uncond.text_embeds = text.uncond.pooled;
  if (cond_.guidance.defined()) cond.guidance = uncond.guidance = slice(cond_.guidance, 0, 0, 1);
  return {.network = model_.denoiser(),
          .schedule = *schedule_,
          .guidance = {.scale = guidance, .rescale = guidance_.rescale},
          .cond = cond,
          .uncond = uncond,
          .members = {{"", {.text = prompt}}},
          .pictures = 1,
          .height = latent_shape_[2],
          .width = latent_shape_[3]};
}

std::vector<Tensor> Generation::inverted(const Tensor& clean) {
  const InversionSettings settings = preset_.inversion.value_or(InversionSettings{});
  const Shape shape{1, latent_shape_[1], latent_shape_[2], latent_shape_[3]};
  if (!settings.load.empty())
    return load_inversion(find_beside(settings.load, path_), static_cast<int64_t>(schedule_->evaluations.size()),
                          shape);
  return invert_picture(source_parts(settings.guidance.value_or(guidance_.scale)), clean, settings, [this](int, int) {
    if (events_.cancelled && events_.cancelled())
      fail(ErrorCode::cancelled, "inversion", "all steps", "an interrupt; nothing is written");
  });
}

// Task edit: members that share their noise begin from what the source picture is made from; others have their own, and
// the first alone is the source.
void Generation::prepare_edit() {
  AttentionContext context;
  const Tensor picture = read_source(*preset_.source, path_, *preset_.size).picture;
  trajectory_ = inverted(model_.vae().to_denoiser(model_.vae().encode(picture, context).mean));
  if (preset_.inversion && !preset_.inversion->save.empty()) save_inversion(preset_.inversion->save, trajectory_);
  const bool alike = shares_noise() || !control_.prompts();
  if (alike) {
    start_ = rows_of(trajectory_.front(), pictures_);
  } else {
    draw_noise();
    start_ = scale(noise_, schedule_->init_noise_sigma);
  }
  if (holds_source()) start_ = with_source(start_, held_state(-1));
}

// What the source is after evaluation `index`; -1: before the first.
const Tensor& Generation::held_state(int index) const {
  const int offset = preset_.inversion ? preset_.inversion->offset : 0;
  const int at = index < 0 ? offset : std::max(offset + 1, index + 1);
  return trajectory_[std::min(static_cast<size_t>(at), trajectory_.size() - 1)];
}

Tensor Generation::with_source(const Tensor& x, const Tensor& state) const {
  return concat({rows_of(state, preset_.images), slice(x, 0, preset_.images, x.dim(0))}, 0);
}

// Rows of the first member follow the inverted picture exactly, whatever guidance does to them.
bool Generation::holds_source() const {
  return !trajectory_.empty() && control_.prompts() && preset_.inversion.value_or(InversionSettings{}).hold;
}

}  // namespace heddle
