// Task edit: what a run from a picture begins with, what holds its rows to it, and the editors of flow models.
#include <algorithm>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"
#include "pipelines/inversion.h"
#include "samplers/flow_edit.h"
#include "samplers/rf_inversion.h"

namespace heddle {

bool Generation::edits_by(InversionMethod method) const {
  return preset_.task == Task::edit && preset_.inversion->method == method;
}

// FlowEdit's state is the edited picture, not what its network sees: methods that act between evaluations have no
// place.
void Generation::check_edit() const {
  if (!edits_by(InversionMethod::flow_edit) || control_.plan() == nullptr) return;
  const Hooks& hooks = control_.plan()->hooks();
  if (control_.prompts() || !hooks.guides.empty() || !hooks.before_step.empty() || !hooks.after_step.empty()) {
    fail(ErrorCode::usage, "inversion.method", "methods that neither bring prompts nor move latents with flow_edit",
         preset_.attention.front().name, "inversion: {method: solver}");
  }
}

// Task edit: members that share their noise begin from what the source picture is made from; others have their own, and
// the first alone is the source.
void Generation::prepare_edit() {
  to_prepare_ = calls_before_run();
  AttentionContext context;
  const SourcePicture source = read_source(*preset_.source, path_, *preset_.size);
  const Tensor clean = model_.vae().to_denoiser(model_.vae().encode(source.picture, context).mean);
  if (preset_.source->find_mask) mask_ = found_mask(source.picture);
  if (source.mask.defined()) mask_ = rows_of(latent_mask(source.mask, latent_shape_[2], latent_shape_[3]), pictures_);
  const InversionSettings& settings = *preset_.inversion;
  if (edits_by(InversionMethod::flow_edit)) {
    start_ = rows_of(clean, pictures_);
    return;
  }
  trajectory_ = settings.load.empty() ? inverted(clean) : loaded();
  if (!settings.save.empty()) save_inversion(settings.save, trajectory_, model_.family() == Family::flux);
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
  const int offset = preset_.inversion->offset;
  const int at = index < 0 ? offset : std::max(offset + 1, index + 1);
  return trajectory_[std::min(static_cast<size_t>(at), trajectory_.size() - 1)];
}

Tensor Generation::with_source(const Tensor& x, const Tensor& state) const {
  return concat({rows_of(state, preset_.images), slice(x, 0, preset_.images, x.dim(0))}, 0);
}

// Rows of the first member follow the inverted picture exactly, whatever guidance does to them.
bool Generation::holds_source() const {
  return !trajectory_.empty() && control_.prompts() && preset_.inversion->hold;
}

Tensor Generation::sampled(const Run& run) {
  const Denoise denoise = [this](const Tensor& x, const Evaluation& at) { return network_->predict(x, at); };
  if (edits_by(InversionMethod::flow_edit)) return flow_edited(run.on_step);
  if (!edits_by(InversionMethod::rf_inversion)) return sample(denoise, start_, run);
  const RfInversionSettings& s = *preset_.inversion->rf_inversion;
  const EtaSchedule eta{.eta = s.eta, .begin = s.start, .end = s.stop, .decay = s.decay};
  return sample(drawn_to_picture(denoise, rows_of(trajectory_.back(), pictures_), eta, schedule_->config), start_, run);
}

// Source and target are two networks, each with its prompt and guidance.
Tensor Generation::flow_edited(const OnStep& on_step) {
  const FlowEditSettings& s = *preset_.inversion->flow_edit;
  GuidedNetwork source(source_parts(pictures_), control_);
  const Denoise target = [&](const Tensor& x, const Evaluation& at) { return network_->predict(x, at); };
  const Denoise both = [&](const Tensor& x, const Evaluation& at) {
    const std::vector<Tensor> lanes = split(x, 0, 2);
    return concat({source.predict(lanes[0], at), target(lanes[1], at)}, 0);
  };
  bool first = true;
  const NoiseSource noise = [&](const Shape& shape) {
    if (!std::exchange(first, false)) return noise_of_step(shape);
    draw_noise();
    return noise_;
  };
  return flow_edit(both, start_,
                   {.schedule = *schedule_,
                    .n_max = *s.n_max,
                    .n_min = s.n_min,
                    .n_avg = s.n_avg,
                    .noise = noise,
                    .target = target,
                    .on_step = on_step});
}

}  // namespace heddle
