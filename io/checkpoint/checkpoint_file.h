// One file that holds a model, or one part of a model, in the layout of its authors, safetensors or GGUF: Stable
// Diffusion 1, 2 and XL, SD3 and SD3.5, FLUX.1, their autoencoders and text encoders. What it is follows from the names
// and shapes of its tensors.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/tensor_file.h"
#include "io/weights.h"

namespace heddle {

namespace checkpoint {
struct Place;  // places.h
}

// A component as networks are built from it: diffusers' configuration, and weights under diffusers' names.
struct ComponentSource {
  Json config;
  std::unique_ptr<ComponentWeights> weights;
};

// config.json and weights of a component folder.
ComponentSource open_component_folder(const std::string& folder);

// A component folder, a file that holds one component, or FILE/unet of a file that holds more. `config`: a folder whose
// config.json is to be used in place of what the file's shapes imply; empty for none.
ComponentSource open_component(const std::string& path, const std::string& config = "");

// Whether a path names a file of tensors (by its ending) rather than a folder.
bool is_checkpoint_file(const std::string& path);

// A safetensors file or index, or a GGUF file of FLUX, SD3 or T5's encoder.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path);

class CheckpointFile {
 public:
  // Reads names and shapes only. Error(input) for a file in which no known part is found.
  explicit CheckpointFile(const std::string& path);
  explicit CheckpointFile(std::shared_ptr<const TensorFile> file);

  const std::string& path() const { return file_->path(); }
  // The diffusers class that runs it, "StableDiffusionXLPipeline"; empty for a file without a denoiser.
  std::string pipeline() const;
  // "unet", "vae", "text_encoder" ... as a diffusers folder would name them; a text encoder on its own is
  // "text_encoder", and may be asked for under any such name.
  std::vector<std::string> components() const;
  bool has(const std::string& component) const { return place_of(component) != nullptr; }

  // `pipeline`: of the model that the component becomes part of; empty: the file's own. `config`: in place of the
  // configuration that the shapes imply. Error(input) where the file has no such component.
  ComponentSource open(const std::string& component, const std::string& pipeline = "",
                       const std::optional<Json>& config = std::nullopt) const;

  // scheduler_config.json of the published models of this kind. v-prediction is known of SD2 (unless the step at which
  // training ended says it is the base model) and where the file says so (tensors "v_pred", "ztsnr").
  std::string scheduler_text() const;

 private:
  const checkpoint::Place* place_of(const std::string& component) const;
  std::string name_of(const checkpoint::Place& place) const;

  std::shared_ptr<const TensorFile> file_;
  std::vector<const checkpoint::Place*> places_;
};

}  // namespace heddle
