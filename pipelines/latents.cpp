// What a run begins with and what pictures become of it: noise, source pictures, masks, decoding. Order of random draws
// as in diffusers' pipelines.
#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {

Tensor rows_of(const Tensor& one, int64_t rows) {
  return one.dim(0) == rows ? one : repeat(one, 0, rows / one.dim(0));
}

Tensor drawn_from(const LatentNormal& normal, const Tensor& normals) {
  return add(normal.mean, multiply(exponential(scale(normal.logvar, 0.5)), normals));
}

// As diffusers takes it: [n,C,h,w], of FLUX packed. Standard normals of a run's size.
void Generation::read_noise() {
  if (preset_.noise.empty()) return;
  const TensorMap tensors = read_safetensors(find_beside(preset_.noise, path_));
  const auto found = tensors.find("latents");
  const bool packed = model_.family() == Family::flux;
  if (found == tensors.end() || found->second.rank() != (packed ? 3 : 4)) {
    fail(ErrorCode::input, preset_.noise, packed ? "a tensor latents [n,tokens,C]" : "a tensor latents [n,C,h,w]",
         found == tensors.end() ? "none" : found->second.shape().text());
  }
  const int64_t prompts = shares_noise() ? 1 : static_cast<int64_t>(preset_.prompt.values.size());
  const int64_t rows = found->second.dim(0);
  if (rows == 0 || rows % prompts != 0) {
    fail(ErrorCode::input, preset_.noise, "rows for each of " + std::to_string(prompts) + " prompts",
         std::to_string(rows));
  }
  preset_.images = static_cast<int>(rows / prompts);
  given_noise_ = to(found->second, DType::f32);
}

Tensor Generation::standard_normals(const Shape& shape) {
  return generator_->randn(shape);
}

// Noise that a solver adds [n,C,h,w]; members that begin alike are disturbed alike.
Tensor Generation::noise_of_step(const Shape& shape) {
  if (!shares_noise()) return standard_normals(shape);
  return rows_of(standard_normals({preset_.images, shape[1], shape[2], shape[3]}), pictures_);
}

// Latents of a picture drawn from the autoencoder's normal, in the denoiser's scale; its mean where the noise was
// given.
Tensor Generation::posterior(const Tensor& picture) {
  AttentionContext context;
  const LatentNormal normal = model_.vae().encode(picture, context);
  if (given_noise_.defined()) return normal.mean;
  return drawn_from(normal, standard_normals(normal.mean.shape()));
}

Tensor Generation::encode_picture(const Tensor& picture) {
  return rows_of(model_.vae().to_denoiser(posterior(picture)), pictures_);
}

Tensor Generation::noise_of_file(const Shape& shape) const {
  const bool packed = model_.family() == Family::flux;
  const Shape wanted = packed ? Shape{shape[0], shape[2] / 2 * (shape[3] / 2), 4 * shape[1]} : shape;
  if (!(given_noise_.shape() == wanted))
    fail(ErrorCode::input, preset_.noise, "latents " + wanted.text(), given_noise_.shape().text());
  return packed ? unpack_latents(given_noise_, shape[2], shape[3]) : given_noise_;
}

// The noise of all rows: given, or drawn; one row of a picture for all members that share it.
void Generation::draw_noise() {
  Shape shape = latent_shape_;
  if (shares_noise()) shape = {preset_.images, shape[1], shape[2], shape[3]};
  noise_ = given_noise_.defined() ? noise_of_file(shape) : standard_normals(shape);
  noise_ = rows_of(noise_, pictures_);
}

void Generation::prepare_latents() {
  if (preset_.task == Task::edit) return prepare_edit();
  const bool extra = model_.traits().in_channels != latent_shape_[1];
  SourcePicture source;
  if (preset_.source) source = read_source(*preset_.source, path_, *preset_.size);
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

// The source itself at the level that follows evaluation `index`: inpainting's is noised, an edit's was inverted, and
// FlowEdit's state is a clean picture at every level.
Tensor Generation::kept_state(int index) const {
  if (edits_by(InversionMethod::flow_edit)) return start_;
  if (preset_.task == Task::edit) return rows_of(trajectory_[static_cast<size_t>(index) + 1], pictures_);
  const bool last = index + 1 == static_cast<int>(schedule_->evaluations.size());
  return last ? source_ : add_noise(*schedule_, source_, noise_, index + 1);
}

// Under the black of the mask.
Tensor Generation::with_kept(const Tensor& x, int index) const {
  const Tensor kept = kept_state(index);
  return add(multiply(mask_, x), multiply(add_constant(scale(mask_, -1), 1), kept));
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

}  // namespace heddle
