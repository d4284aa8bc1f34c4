// A model: a folder as diffusers writes it (model_index.json and one folder per component), opened once, its components
// loaded when they are first asked for.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "encoders/clip_tokenizer.h"
#include "encoders/text_clip.h"
#include "encoders/vae_kl.h"
#include "io/json.h"
#include "io/preset.h"
#include "pipelines/load_component.h"
#include "unet_dit/unet.h"

namespace heddle {

enum class Family : uint8_t { sd, sdxl };

// The folder that a preset's `model:` means (pipelines/shelves.h). Error(usage) naming the models there are.
std::string find_model(const std::string& name, const std::string& preset_path);

class Model {
 public:
  // Reads model_index.json. Error(input) for a pipeline that is not of the Stable Diffusion family, and for LoRAs with
  // layers that no component has. `beside`: the preset, beside which the files of LoRAs may lie.
  Model(std::string folder, DType compute, const std::vector<LoraSettings>& loras = {}, const std::string& beside = "");

  const std::string& folder() const { return folder_; }
  Family family() const { return family_; }
  // SDXL: no negative prompt stands for zeros instead of the empty text.
  bool zeros_for_no_negative() const { return zeros_for_no_negative_; }

  // One tokenizer and encoder, or SDXL's two.
  const std::vector<ClipTokenizer>& tokenizers();
  const std::vector<std::unique_ptr<ClipText>>& text_encoders();
  UNet& unet();
  VaeKl& vae();
  int64_t sample_size();  // latent pixels along an edge that the UNet was made for

  // scheduler/scheduler_config.json, its text and its name for messages.
  std::string scheduler_text() const;
  std::string scheduler_where() const { return folder_ + "/scheduler/scheduler_config.json"; }

 private:
  struct OpenLora {
    std::unique_ptr<LoraFile> file;
    double weight, text_weight;
  };
  PartLoras loras_of(LoraPart part) const;

  std::string folder_;
  DType compute_;
  std::vector<OpenLora> loras_;
  Family family_ = Family::sd;
  bool zeros_for_no_negative_ = false;
  std::mutex mutex_;
  std::vector<ClipTokenizer> tokenizers_;
  std::vector<std::unique_ptr<ClipText>> text_encoders_;
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<VaeKl> vae_;
};

}  // namespace heddle
