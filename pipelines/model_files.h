// Where the components of a model lie: in a diffusers folder, in one file of tensors, or here and there as a preset
// says.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_file.h"
#include "io/preset.h"

namespace heddle {

// The folder or file that a preset's `model:` means (pipelines/shelves.h). Error(usage) naming the models there are.
std::string find_model(const std::string& name, const std::string& preset_path);

// What the author of a folder advises where a preset says nothing; of other models nothing.
struct SamplerAdvice {
  std::optional<int> steps;
  std::optional<double> guidance;
};

class ModelFiles {
 public:
  // Paths that can be opened from here.
  struct Paths {
    std::string model;                            // a diffusers folder, or a file (io/checkpoint/checkpoint_file.h)
    std::string config = {};                      // a folder laid out as diffusers', for what a file does not say
    std::map<std::string, std::string> own = {};  // components from elsewhere: "transformer" to a folder or file
  };
  // Error(input) for a folder without model_index.json or with a wrong heddle.json, and for a file without a denoiser.
  explicit ModelFiles(Paths paths);
  // Those of a preset; relative paths may lie beside it.
  static ModelFiles of(const Preset& preset, const std::string& preset_path);

  const std::string& path() const { return paths_.model; }
  // Which of `components` are given on their own although the model has no use for them is an error.
  void require_known(const std::vector<std::string>& components) const;
  const std::string& pipeline() const { return pipeline_; }  // diffusers' class
  const std::string& where() const { return where_; }        // what says so, for messages
  bool zeros_for_empty_prompt() const { return zeros_for_empty_prompt_; }
  bool requires_aesthetic_score() const { return requires_aesthetic_score_; }
  // The folder's heddle.json: {"sampler": {"steps": 30, "guidance": 3}}.
  const SamplerAdvice& advice() const { return advice_; }
  // As SDXL's refiner, which reads by the second text encoder alone.
  bool lacks_first_encoder() const;

  bool has(const std::string& component) const;
  // The component of the model. Error(input) saying where it may be given.
  ComponentSource open(const std::string& component) const;
  Json config(const std::string& component) const;
  std::string how_to_give(const std::string& component) const;  // one that is nowhere: the end of an error
  // The folder of "tokenizer", "tokenizer_2" ...
  std::string tokenizer(const std::string& name) const;

  // scheduler_config.json, or what the published models have; and its name for messages. Its class is the one that
  // model_index.json names: diffusers makes that one of the file, whatever class wrote it.
  std::string scheduler_text() const;
  std::string scheduler_where() const;

 private:
  void read_folder();
  void read_advice();
  void require_listed(const std::string& component) const;
  std::optional<std::string> scheduler_file() const;
  std::optional<Json> config_for(const std::string& component) const;

  Paths paths_;
  std::string pipeline_, where_;
  bool zeros_for_empty_prompt_ = true, requires_aesthetic_score_ = false;
  SamplerAdvice advice_;
  std::map<std::string, std::string> listed_;  // components that model_index.json names, and their classes
  std::optional<CheckpointFile> file_;         // where the model is a file
};

}  // namespace heddle
