// Encode, name lanes, sample, decode. Order of random draws and of rows as in diffusers' pipelines, so that equal seeds
// give equal pictures.
#include "pipelines/generation.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/random.h"
#include "samplers/sampler.h"

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

}  // namespace

Tensor rows_of(const Tensor& one, int64_t rows) {
  return one.dim(0) == rows ? one : repeat(one, 0, rows / one.dim(0));
}

void Generation::check_task() const {
  const bool needs_source = preset_.task != Task::generate;
  if (needs_source != preset_.source.has_value()) {
    fail(ErrorCode::usage, "source", needs_source ? "a picture for this task" : "none for task generate",
         needs_source ? "none" : "one");
  }
  if ((preset_.task == Task::inpaint) != (preset_.source && !preset_.source->mask.empty())) {
    fail(ErrorCode::usage, "source.mask", "a mask for task inpaint, and only there",
         preset_.task == Task::inpaint ? "none" : "one");
  }
  const int64_t channels = model_.unet().config().in_channels, latents = model_.vae().config().latent_channels;
  const bool extra = channels == 2 * latents + 1;
  if (channels != latents && !extra) {
    fail(ErrorCode::input, "unet in_channels", std::to_string(latents) + " or " + std::to_string(2 * latents + 1),
         std::to_string(channels));
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
  SamplerSettings& sampler = preset_.sampler;
  embedded_guidance_ = model_.unet().config().time_cond_dim > 0;
  if (!sampler.steps && sampler.sigmas) sampler.steps = static_cast<int>(sampler.sigmas->size());
  if (!sampler.steps) sampler.steps = embedded_guidance_ ? 4 : 50;
  if (!sampler.guidance) sampler.guidance = embedded_guidance_ ? 8.5 : model_.family() == Family::sdxl ? 5.0 : 7.5;
  if (preset_.source && !preset_.source->strength && preset_.task != Task::edit)
    preset_.source->strength = preset_.task == Task::inpaint ? 1.0 : model_.family() == Family::sdxl ? 0.3 : 0.8;
  guidance_ = {.scale = embedded_guidance_ ? 1.0 : *sampler.guidance, .rescale = sampler.guidance_rescale};
  preset_.size = run_size(preset_, path_, model_);

  nlohmann::json overrides = scheduler_overrides(sampler).node();
  if (sampler.eta != 0) overrides["eta"] = sampler.eta;
  const SchedulerConfig config =
      parse_scheduler_config(model_.scheduler_text(), model_.scheduler_where(), overrides, sampler.name.value_or(""));
  schedule_ =
      make_schedule(config, {.steps = *sampler.steps, .sigmas = sampler.sigmas.value_or(std::vector<double>())});
  sampler.name = sampler_name(config);

  read_noise();
  const int64_t factor = model_.vae().config().factor();
  pictures_ = static_cast<int64_t>(preset_.prompt.values.size()) * preset_.images;
  latent_shape_ = {pictures_, model_.vae().config().latent_channels, (*preset_.size)[1] / factor,
                   (*preset_.size)[0] / factor};
  generator_ =
      make_generator(preset_.rng == Rng::torch_cuda ? "torch-cuda" : "torch-cpu", static_cast<uint64_t>(preset_.seed));
}

void Generation::read_noise() {
  if (preset_.noise.empty()) return;
  given_noise_ = read_safetensors(find_beside(preset_.noise, path_));
  const auto found = given_noise_.find("latents");
  if (found == given_noise_.end() || found->second.rank() != 4) {
    fail(ErrorCode::input, preset_.noise, "a tensor latents [n,C,h,w]",
         found == given_noise_.end() ? "none" : found->second.shape().text());
  }
  const int64_t prompts = shares_noise() ? 1 : static_cast<int64_t>(preset_.prompt.values.size());
  const int64_t rows = found->second.dim(0);
  if (rows == 0 || rows % prompts != 0) {
    fail(ErrorCode::input, preset_.noise, "rows for each of " + std::to_string(prompts) + " prompts",
         std::to_string(rows));
  }
  preset_.images = static_cast<int>(rows / prompts);
}

Tensor Generation::standard_normals(const Shape& shape) {
  return generator_->randn(shape);
}

// Noise that a solver adds [n,C,h,w]; members that begin alike are disturbed alike.
Tensor Generation::noise_of_step(const Shape& shape) {
  if (!shares_noise()) return standard_normals(shape);
  return rows_of(standard_normals({preset_.images, shape[1], shape[2], shape[3]}), pictures_);
}

void Generation::encode_prompts() {
  TextRequest request{
      .prompts = per_picture(preset_.prompt.values, preset_, "prompt"), .negatives = {}, .settings = preset_.text};
  if (!preset_.negative.values.empty()) request.negatives = per_picture(preset_.negative.values, preset_, "negative");
  const EncodedText text = encode_text(model_, request);
  cond_.text = text.cond.text;
  uncond_.text = text.uncond.text;
  if (model_.unet().config().text_time) {
    const SdxlSettings& s = preset_.sdxl;
    const WidthHeight size = *preset_.size, corner{0, 0};
    cond_.time_ids =
        time_ids(s.original_size.value_or(size), s.crop.value_or(corner), s.target_size.value_or(size), pictures_);
    // As in diffusers, negative sizes count only where both are given.
    const bool own = s.negative_original_size && s.negative_target_size;
    uncond_.time_ids =
        own ? time_ids(*s.negative_original_size, s.negative_crop.value_or(corner), *s.negative_target_size, pictures_)
            : cond_.time_ids;
    cond_.text_embeds = text.cond.pooled;
    uncond_.text_embeds = text.uncond.pooled;
  }
  if (embedded_guidance_)
    cond_.guidance = embed_guidance(*preset_.sampler.guidance, model_.unet().config().time_cond_dim, pictures_);
}

void Generation::make_network() {
  if (!preset_.save_maps.empty()) {
    auto maps = std::make_unique<WordMaps>();
    word_maps_ = maps.get();
    control_.add({.name = "save_maps", .where = "save_maps", .over = {}, .method = std::move(maps)});
  }
  network_.emplace(GuidedNetwork::Parts{.network = model_.unet(),
                                        .schedule = *schedule_,
                                        .guidance = guidance_,
                                        .cond = cond_,
                                        .uncond = uncond_,
                                        .members = run_members(model_, preset_, control_.prompts(), cond_.text.dim(1)),
                                        .pictures = preset_.images,
                                        .height = latent_shape_[2],
                                        .width = latent_shape_[3]},
                   control_);
}

// Latents of a picture drawn from the autoencoder's normal, in the denoiser's scale; its mean where the noise was
// given.
Tensor Generation::posterior(const Tensor& picture) {
  AttentionContext context;
  const LatentNormal normal = model_.vae().encode(picture, context);
  if (!given_noise_.empty()) return normal.mean;
  return add(normal.mean, multiply(exponential(scale(normal.logvar, 0.5)), standard_normals(normal.mean.shape())));
}

Tensor Generation::encode_picture(const Tensor& picture) {
  return rows_of(model_.vae().to_denoiser(posterior(picture)), pictures_);
}

// The noise of all rows: given, or drawn; one row of a picture for all members that share it.
void Generation::draw_noise() {
  Shape shape = latent_shape_;
  if (shares_noise()) shape = {preset_.images, shape[1], shape[2], shape[3]};
  if (given_noise_.empty()) {
    noise_ = standard_normals(shape);
  } else {
    noise_ = to(given_noise_.at("latents"), DType::f32);
    if (!(noise_.shape() == shape))
      fail(ErrorCode::input, preset_.noise, "latents " + shape.text(), noise_.shape().text());
  }
  noise_ = rows_of(noise_, pictures_);
}

void Generation::prepare_latents() {
  if (preset_.task == Task::edit) return prepare_edit();
  const bool extra = model_.unet().config().in_channels != latent_shape_[1];
  SourcePicture source;
  if (preset_.source) {
    source = read_source(*preset_.source, path_, *preset_.size);
    begin_ = begin_index(*schedule_, *preset_.source->strength);
  }
  // The order of draws: clean latents (where they are needed), noise, the masked picture's latents.
  const bool pure_noise = !preset_.source || (preset_.task == Task::inpaint && *preset_.source->strength == 1);
  if (!pure_noise || (preset_.task == Task::inpaint && !extra)) source_ = encode_picture(source.picture);
  draw_noise();
  start_ = pure_noise ? scale(noise_, schedule_->init_noise_sigma) : add_noise(*schedule_, source_, noise_, begin_);
  if (preset_.task != Task::inpaint) return;
  mask_ = rows_of(latent_mask(source.mask, latent_shape_[2], latent_shape_[3]), pictures_);
  const Tensor masked = encode_picture(multiply(source.picture, add_constant(scale(source.mask, -1), 1)));
  extra_channels_ = extra;
  if (extra) network_->set_extra_channels(concat({mask_, masked}, 1));
}

Tensor Generation::after_step(const Evaluation& at, const Tensor& x, const Tensor& clean) {
  const auto evaluations = static_cast<int>(schedule_->evaluations.size());
  Tensor next = x;
  if (mask_.defined() && !extra_channels_) {
    const bool last = at.index + 1 == evaluations;
    const Tensor kept = last ? source_ : add_noise(*schedule_, source_, noise_, at.index + 1);
    next = add(multiply(mask_, x), multiply(add_constant(scale(mask_, -1), 1), kept));
  }
  if (holds_source()) next = with_source(next, held_state(at.index));
  next = network_->after(at, next);
  if (events_.on_step) events_.on_step(at.index + 1 - begin_, evaluations - begin_);
  if (preset_.preview && events_.on_preview && (at.index + 1 - begin_) % preset_.preview->every == 0) {
    if (!preview_) preview_.emplace(model_.vae());
    events_.on_preview((*preview_)(slice(clean, 0, 0, 1))[0]);
  }
  if (events_.cancelled && events_.cancelled()) throw Cancelled{clean};
  return next;
}

Tensor Generation::decode(const Tensor& latents) {
  VaeKl& vae = model_.vae();
  const int64_t pixels = int64_t{(*preset_.size)[0]} * (*preset_.size)[1];
  constexpr int64_t whole = int64_t{1536} * 1536;  // beyond it the decoder's widest maps pass 4 GiB
  const bool tiled = preset_.vae.tiling == Tiling::on || (preset_.vae.tiling == Tiling::automatic && pixels > whole);
  vae.set_tiling(tiled ? vae.config().sample_size : 0);
  std::vector<Tensor> pictures;  // one at a time: the decoder's maps are the largest of the run
  for (int64_t i = 0; i < pictures_; ++i) {
    AttentionContext context;
    pictures.push_back(vae.decode(vae.from_denoiser(slice(latents, 0, i, i + 1)), context));
  }
  return clamp(add_constant(scale(concat(pictures, 0), 0.5), 0.5), 0, 1);
}

PlanExplanation Generation::explanation() {
  resolve();
  encode_prompts();
  make_network();
  if (control_.plan() == nullptr)
    return {.rows = {}, .totals = {.sites = static_cast<int>(model_.unet().sites().size())}};
  return {explain(*control_.plan()), totals(*control_.plan()), explain_text(*control_.plan())};
}

RunResult Generation::operator()() {
  RunResult result;
  Stopwatch watch;
  resolve();
  model_.text_encoders();
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
    result.latents =
        sample([this](const Tensor& x, const Evaluation& at) { return network_->predict(x, at); }, start_, run);
  } catch (const Cancelled& stopped) {
    result.latents = stopped.clean;
    result.cancelled = true;
  }
  result.seconds.steps = watch.lap();
  result.image = decode(result.latents);
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
