// Encode, name lanes, sample, decode. Order of random draws and of rows as in diffusers' pipelines, so that equal seeds
// give equal pictures.
#include "pipelines/generation.h"

#include <chrono>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/defaults.h"
#include "pipelines/inversion.h"
#include "pipelines/preset_schedule.h"
#include "samplers/sampler.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {
namespace {

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

void Generation::check_task() const {
  const bool needs_source = preset_.task != Task::generate;
  if (needs_source != preset_.source.has_value()) {
    fail(ErrorCode::usage, "source", needs_source ? "a picture for this task" : "none for task generate",
         needs_source ? "none" : "one");
  }
  const bool has_mask = preset_.source && !preset_.source->mask.empty();
  if (preset_.task != Task::edit && has_mask != (preset_.task == Task::inpaint)) {
    fail(ErrorCode::usage, "source.mask", "a mask for task inpaint, perhaps for edit, and only there",
         has_mask ? "one" : "none");
  }
  const int64_t channels = model_.traits().in_channels, latents = model_.vae().config().latent_channels;
  const bool extra = channels == 2 * latents + 1;
  if (channels != latents && !extra) {
    fail(ErrorCode::input, "in_channels of the latents",
         std::to_string(latents) + " or " + std::to_string(2 * latents + 1), std::to_string(channels));
  }
  if (extra && preset_.task != Task::inpaint)
    fail(ErrorCode::usage, "task", "inpaint: this model was made for it", "another task");
  if (preset_.prompt.values.empty()) fail(ErrorCode::usage, "prompt", "a text", "none");
}

// One row of noise serves all members of a source and target method.
bool Generation::shares_noise() const {
  return control_.prompts() && control_.prompts()->shared_noise;
}

// What the preset leaves open is the family's own in diffusers.
void Generation::resolve() {
  if (control_.prompts()) {
    preset_.prompt.values.clear();
    for (const auto& [name, prompt] : control_.prompts()->members) preset_.prompt.values.push_back(prompt);
  }
  check_task();
  fill_defaults(preset_, model_);
  guidance_ = guidance_of(preset_, model_);
  preset_.size = run_size(preset_, path_, model_);
  read_noise();
  const int64_t factor = model_.vae().config().factor();
  pictures_ = static_cast<int64_t>(preset_.prompt.values.size()) * preset_.images;
  latent_shape_ = {pictures_, model_.vae().config().latent_channels, (*preset_.size)[1] / factor,
                   (*preset_.size)[0] / factor};
  lay_out_steps();
  if (preset_.task == Task::edit) {
    fill_inversion(preset_, model_, schedule_->config.flow);
    check_inversion(preset_, *schedule_);
  }
  begin_ = first_evaluation();
  generator_ = run_generator();
}

std::unique_ptr<Generator> Generation::run_generator() const {
  return make_generator(preset_.rng == Rng::torch_cuda ? "torch-cuda" : "torch-cpu",
                        static_cast<uint64_t>(preset_.seed));
}

void Generation::lay_out_steps() {
  SamplerSettings& sampler = preset_.sampler;
  const SchedulerConfig config = scheduler_config(model_, preset_);
  const int64_t patch = model_.traits().patch;
  StepRequest request{.steps = *sampler.steps,
                      .sigmas = sampler.sigmas.value_or(std::vector<double>()),
                      .image_tokens = latent_shape_[2] / patch * (latent_shape_[3] / patch)};
  // FLUX's pipelines ask for these of every scheduler that takes any.
  if (model_.family() == Family::flux && config.flow && !walks_on_log_snr(config.solver) && request.sigmas.empty())
    request.sigmas = even_sigmas(request.steps);
  // LCM's own pipeline runs all steps, picked from the part of the training schedule that the picture leaves.
  picks_by_strength_ = preset_.task == Task::image_to_image && config.solver == Solver::lcm &&
                       model_.pipeline().starts_with("LatentConsistency");
  if (picks_by_strength_) request.strength = *preset_.source->strength;
  schedule_ = make_schedule(config, request);
  if (sampler.name) return;
  // What the file alone makes is told by name where the name makes the same: a record has to repeat its run.
  Preset named = preset_;
  named.sampler.name = sampler_name(config);
  if (scheduler_config(model_, named) == config) sampler.name = named.sampler.name;
}

int Generation::first_evaluation() const {
  if (edits_by(InversionMethod::flow_edit))
    return static_cast<int>(schedule_->evaluations.size()) - *preset_.inversion->flow_edit->n_max;
  if (!preset_.source || preset_.task == Task::edit || picks_by_strength_) return 0;
  return begin_index(*schedule_, *preset_.source->strength);
}

void Generation::make_network() {
  if (!preset_.save_maps.empty()) {
    auto maps = std::make_unique<WordMaps>();
    word_maps_ = maps.get();
    control_.add({.name = "save_maps", .where = "save_maps", .over = {}, .method = std::move(maps)});
  }
  network_.emplace(GuidedNetwork::Parts{.network = model_.denoiser(),
                                        .schedule = *schedule_,
                                        .guidance = guidance_,
                                        .cond = cond_,
                                        .uncond = uncond_,
                                        .members = run_members(model_, preset_, control_.prompts(), cond_.text.dim(1)),
                                        .pictures = preset_.images,
                                        .height = latent_shape_[2],
                                        .width = latent_shape_[3],
                                        .begin = begin_,
                                        .source = source_shape()},
                   control_);
  check_edit();
}

int Generation::run_calls() const {
  return static_cast<int>(schedule_->evaluations.size()) - begin_;
}

Tensor Generation::after_step(const Evaluation& at, const Tensor& x, const Tensor& clean) {
  Tensor next = mask_.defined() && !extra_channels_ ? with_kept(x, at.index) : x;
  if (holds_source()) next = with_source(next, held_state(at.index));
  next = network_->after(at, next);
  if (events_.on_step) events_.on_step(prepared_ + at.index + 1 - begin_, prepared_ + run_calls());
  if (preset_.preview && events_.on_preview && (at.index + 1 - begin_) % preset_.preview->every == 0) {
    if (!preview_) preview_.emplace(model_.vae());
    events_.on_preview((*preview_)(slice(clean, 0, 0, 1))[0]);
  }
  if (events_.cancelled && events_.cancelled()) throw Cancelled{clean};
  return next;
}

PlanExplanation Generation::explanation() {
  resolve();
  encode_prompts();
  make_network();
  if (control_.plan() == nullptr)
    return {.rows = {},
            .norms = {},
            .totals = {.sites = static_cast<int>(model_.denoiser().sites().size()), .network_calls = run_calls()}};
  return {explain(*control_.plan()), explain_norms(*control_.plan()), totals(*control_.plan()),
          explain_text(*control_.plan())};
}

RunResult Generation::operator()() {
  RunResult result;
  Stopwatch watch;
  resolve();
  model_.text_encoders();
  if (model_.has_t5()) model_.t5_encoder();
  result.seconds.load = watch.lap();
  encode_prompts();
  result.seconds.text = watch.lap();
  make_network();
  prepare_latents();
  const Run run{.schedule = *schedule_,
                .begin = begin_,
                .noise = [this](const Shape& shape) { return noise_of_step(shape); },
                .on_step = [this](const Evaluation& at, const Tensor& x,
                                  const Tensor& clean) { return after_step(at, x, clean); },
                .before = [this](const Evaluation& at, const Tensor& x) { return network_->before(at, x); }};
  try {
    result.latents = sampled(run);
  } catch (const Cancelled& stopped) {
    result.latents = stopped.clean;
    result.cancelled = true;
  }
  result.seconds.steps = watch.lap();
  result.image = decode(result.latents);
  if (!preset_.save_mask.empty()) result.mask = mask_;
  if (model_.family() == Family::flux) result.latents = pack_latents(result.latents);
  result.seconds.decode = watch.lap();
  result.preset = preset_;
  result.losses = network_->losses();
  if (word_maps_ != nullptr) result.word_maps = word_maps_->maps();
  if (control_.prompts()) {
    for (const auto& [name, prompt] : control_.prompts()->members) result.members.push_back(name);
  }
  return result;
}

PlanExplanation explain_preset(const Preset& preset, const std::string& preset_path, Model& model) {
  return Generation(preset, preset_path, model, {}).explanation();
}

RunResult generate(const Preset& preset, const std::string& preset_path, Model& model, const RunEvents& events) {
  return Generation(preset, preset_path, model, events)();
}

}  // namespace heddle
