// Generation: a run in progress, what its stages share. generate.cpp has the stages of every task, prompts.cpp
// what their network is told, latents.cpp what they begin with and end in, edit.cpp the stages of task edit, source.cpp
// its source's own run, prompt_mask.cpp the mask that is found for it.
#pragma once

#include <memory>
#include <optional>

#include "pipelines/conditioning.h"
#include "pipelines/generate.h"
#include "pipelines/guided_network.h"
#include "pipelines/preview.h"
#include "pipelines/source_picture.h"
#include "samplers/random.h"

namespace heddle {

struct Cancelled {
  Tensor clean;
};

// [1,...] or [n,...] as `rows` rows.
Tensor rows_of(const Tensor& one, int64_t rows);

// The autoencoder's normal at standard normals [n,C,h,w].
Tensor drawn_from(const LatentNormal& normal, const Tensor& normals);

class Generation {
 public:
  Generation(const Preset& preset, const std::string& path, Model& model, const RunEvents& events)
      : preset_(preset), path_(path), model_(model), events_(events), control_(preset) {}
  RunResult operator()();
  PlanExplanation explanation();

 private:
  void check_task() const;
  bool shares_noise() const;
  bool holds_source() const;
  void resolve();
  void lay_out_steps();
  int first_evaluation() const;
  void read_noise();
  const std::string& source_prompt() const;
  void encode_prompts();
  void check_sizes() const;
  void tell_sizes();
  Tensor told_guidance(double guidance, int64_t rows);
  void make_network();
  void prepare_latents();
  void prepare_edit();
  void draw_noise();
  Tensor noise_of_file(const Shape& shape) const;
  const Tensor& held_state(int index) const;
  Tensor with_source(const Tensor& x, const Tensor& state) const;
  bool edits_by(InversionMethod method) const;
  void check_edit() const;
  Tensor sampled(const Run& run);
  Tensor flow_edited(const OnStep& on_step);
  SourceShape source_shape() const;
  GuidedNetwork::Parts parts_beside(const TextStates& cond, const TextStates& uncond, double guidance, int64_t rows);
  GuidedNetwork::Parts source_parts(int64_t rows);
  int calls_before_run() const;
  int run_calls() const;
  void prepared_one();
  std::vector<Tensor> inverted(const Tensor& clean);
  std::vector<Tensor> loaded();
  int mask_calls() const;
  Tensor found_mask(const Tensor& picture);
  std::unique_ptr<Generator> run_generator() const;
  Tensor encode_picture(const Tensor& picture);
  Tensor posterior(const Tensor& picture);
  Tensor kept_state(int index) const;
  Tensor with_kept(const Tensor& x, int index) const;
  Tensor standard_normals(const Shape& shape);
  Tensor noise_of_step(const Shape& shape);
  Tensor after_step(const Evaluation& at, const Tensor& x, const Tensor& clean);
  Tensor decode(const Tensor& latents);

  Preset preset_;
  const std::string& path_;
  Model& model_;
  RunEvents events_;
  int64_t pictures_ = 0;
  Shape latent_shape_;
  std::optional<Schedule> schedule_;
  std::unique_ptr<Generator> generator_;
  Tensor given_noise_;  // as the file has it
  Guidance guidance_;
  Control control_;
  Conditioning cond_, uncond_;  // one row a picture
  EncodedText source_text_;     // of task edit: one row
  std::optional<GuidedNetwork> network_;
  WordMaps* word_maps_ = nullptr;  // owned by control_
  int begin_ = 0;
  int to_prepare_ = 0;              // calls_before_run()
  int prepared_ = 0;                // of them, how many are done
  bool picks_by_strength_ = false;  // the schedule begins where the picture's noise does
  Tensor start_, noise_;            // [n,C,h,w]: the state before the first evaluation, and what is random in it
  Tensor source_, mask_;            // clean latents of inpainting without extra channels, latent mask of all tasks
  std::vector<Tensor> trajectory_;  // of task edit: the source's state before each evaluation, and the clean one
  bool extra_channels_ = false;     // the network sees mask and masked picture itself
  std::optional<LatentPreview> preview_;
};

}  // namespace heddle
