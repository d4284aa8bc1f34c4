// The schedules that the published models come with; a file of tensors carries none.
#include <nlohmann/json.hpp>

#include "io/checkpoint/checkpoint_file.h"
#include "io/checkpoint/places.h"

namespace heddle {
namespace {

// With keys of other classes, as the published files have them: another sampler is made from the same keys.
nlohmann::json diffusion() {
  return {
      {"num_train_timesteps", 1000},      {"beta_start", 0.00085},     {"beta_end", 0.012}, {"clip_sample", false},
      {"beta_schedule", "scaled_linear"}, {"set_alpha_to_one", false}, {"steps_offset", 1}, {"skip_prk_steps", true}};
}

nlohmann::json flow(double shift) {
  return {{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"num_train_timesteps", 1000}, {"shift", shift}};
}

int64_t number_in(const TensorFile& file, const std::string& name) {
  const auto found = file.shapes().find(name);
  if (found == file.shapes().end() || found->second.count() != 1) return 0;
  const Tensor value = file.read(name);
  return value.dtype() == DType::i64 ? value.to_ids()[0] : static_cast<int64_t>(value.to_vector()[0]);
}

// Stable Diffusion 2 predicts velocities, but for its base model, whose training ended at this step.
bool predicts_velocity(const TensorFile& file, bool second) {
  return file.shapes().contains("v_pred") || (second && number_in(file, "global_step") != 875000);
}

nlohmann::json stable_diffusion(bool velocity) {
  nlohmann::json config = diffusion();
  config["_class_name"] = velocity ? "DDIMScheduler" : "PNDMScheduler";
  return config;
}

nlohmann::json xl() {
  nlohmann::json config = diffusion();
  config["_class_name"] = "EulerDiscreteScheduler";
  config["timestep_spacing"] = "leading";
  return config;
}

nlohmann::json flux_dev() {
  nlohmann::json config = flow(3);
  config.update({{"use_dynamic_shifting", true},
                 {"base_shift", 0.5},
                 {"max_shift", 1.15},
                 {"base_image_seq_len", 256},
                 {"max_image_seq_len", 4096}});
  return config;
}

}  // namespace

std::string CheckpointFile::scheduler_text() const {
  const std::string family = pipeline();
  if (family == checkpoint::sd3) return flow(3).dump();
  if (family == checkpoint::flux) {
    for (const char* name : {"model.diffusion_model.guidance_in.in_layer.weight", "guidance_in.in_layer.weight",
                             "time_text_embed.guidance_embedder.linear_1.weight"}) {
      if (file_->shapes().contains(name)) return flux_dev().dump();
    }
    return flow(1).dump();
  }
  const bool second = file_->shapes().contains("cond_stage_model.model.positional_embedding");
  const bool velocity = predicts_velocity(*file_, second);
  nlohmann::json config = checkpoint::is_sdxl(family) ? xl() : stable_diffusion(velocity);
  config["prediction_type"] = velocity ? "v_prediction" : "epsilon";
  if (file_->shapes().contains("ztsnr")) config["rescale_betas_zero_snr"] = true;
  return config.dump();
}

}  // namespace heddle
