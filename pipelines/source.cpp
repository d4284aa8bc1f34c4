// The source of task edit: its own run, with its prompt alone, from the picture to noise.
#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"
#include "pipelines/inversion.h"
#include "samplers/inversion.h"
#include "samplers/rf_inversion.h"

namespace heddle {

// What methods may keep of the inversion.
SourceShape Generation::source_shape() const {
  if (preset_.task != Task::edit || edits_by(InversionMethod::flow_edit)) return {};
  SourceShape out{.stages = std::vector<int>(static_cast<size_t>(schedule_->steps)), .pictures = 1};
  for (const Evaluation& at : source_schedule(*preset_.inversion->method, *schedule_).evaluations)
    ++out.stages[static_cast<size_t>(at.step)];
  if (edits_by(InversionMethod::rf_inversion)) out.pictures = preset_.images;
  return out;
}

// A network beside the run's, told one text and a guidance of its own; no method of the run has turns there.
GuidedNetwork::Parts Generation::parts_beside(const TextStates& cond, const TextStates& uncond, double guidance,
                                              int64_t rows) {
  const bool told = model_.traits().embeds_guidance();
  // Beside an embedded guidance that of the negative prompt is the run's, but of flows, which are inverted without.
  const double scale = !told ? guidance : schedule_->config.flow ? 1 : guidance_.scale;
  const auto told_of = [&](const TextStates& states, const Conditioning& run) {
    const auto all = [&](const Tensor& one) { return one.defined() ? rows_of(one, rows) : one; };
    Conditioning out{.text = all(states.text)};
    if (model_.traits().pooled) out.text_embeds = all(states.pooled);
    if (run.time_ids.defined()) out.time_ids = all(slice(run.time_ids, 0, 0, 1));
    out.guidance = told_guidance(guidance, rows);
    return out;
  };
  return {.network = model_.denoiser(),
          .schedule = *schedule_,
          .guidance = {.scale = scale, .rescale = guidance_.rescale, .steps = guidance_.steps},
          .cond = told_of(cond, cond_),
          .uncond = told_of(uncond, uncond_),
          .members = {{"", {.text = source_prompt()}}},
          .pictures = rows,
          .height = latent_shape_[2],
          .width = latent_shape_[3],
          .pass = Pass::invert};
}

GuidedNetwork::Parts Generation::source_parts(int64_t rows) {
  return parts_beside(source_text_.cond, source_text_.uncond, *preset_.inversion->guidance, rows);
}

// Of task edit: those that find its mask and invert its picture.
int Generation::calls_before_run() const {
  const InversionSettings& settings = *preset_.inversion;
  int calls = preset_.source->find_mask ? mask_calls() : 0;
  if (settings.load.empty() && !edits_by(InversionMethod::flow_edit))
    calls += static_cast<int>(source_schedule(*settings.method, *schedule_).evaluations.size());
  return calls;
}

// Before the first step there is no picture to keep.
void Generation::prepared_one() {
  ++prepared_;
  if (events_.on_step) events_.on_step(prepared_, to_prepare_ + run_calls());
  if (events_.cancelled && events_.cancelled())
    fail(ErrorCode::cancelled, "inversion", "all steps", "an interrupt; nothing is written");
}

// RF-Inversion's pictures go to noise of their own each; what other methods invert is one picture.
std::vector<Tensor> Generation::inverted(const Tensor& clean) {
  const InversionSettings& settings = *preset_.inversion;
  const bool drawn = edits_by(InversionMethod::rf_inversion);
  const int64_t rows = drawn ? preset_.images : 1;
  GuidedNetwork source(source_parts(rows), control_);
  Denoise denoise = [&](const Tensor& x, const Evaluation& at) { return source.predict(x, at); };
  if (drawn) {
    draw_noise();
    denoise = drawn_to_noise(denoise, slice(noise_, 0, 0, rows), settings.rf_inversion->gamma, schedule_->config);
  }
  return invert(denoise, rows_of(clean, rows),
                {.schedule = *schedule_,
                 .method = drawn ? Inversion::solver : static_cast<Inversion>(*settings.method),
                 .iterations = settings.iterations,
                 .on_step = [this](int, int) { prepared_one(); }});
}

// States from a file. What methods keep of an inversion is not in it: there the network looks at the states once more,
// at those that it saw then.
std::vector<Tensor> Generation::loaded() {
  const InversionSettings& settings = *preset_.inversion;
  const auto steps = static_cast<int64_t>(schedule_->evaluations.size());
  const Shape shape{1, latent_shape_[1], latent_shape_[2], latent_shape_[3]};
  std::vector<Tensor> states = load_inversion(find_beside(settings.load, path_), steps, shape);
  const CompiledPlan* plan = control_.plan();
  if (plan == nullptr) return states;
  GuidedNetwork source(source_parts(1), control_);
  for (const Evaluation& at : source_schedule(*settings.method, *schedule_).evaluations) {
    if (!plan->stores_at(at.step)) continue;
    const int64_t cleaner = *settings.method == InversionMethod::ddim ? 1 : 0;
    const int64_t seen = at.direction == Direction::invert ? steps - at.index : at.index + cleaner;
    source.predict(states[static_cast<size_t>(seen)], at);
  }
  return states;
}

}  // namespace heddle
