// Checks of an edit's settings; files of inverted states.
#include "pipelines/inversion.h"

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "unet_dit/flux_tokens.h"

namespace heddle {
namespace {

using enum InversionMethod;

// Keys of a method stand with that method only.
void check_keys(const InversionSettings& s) {
  const auto only = [](bool given, bool chosen, const std::string& name) {
    if (given && !chosen)
      fail(ErrorCode::usage, "inversion." + name, "method: " + name + ", or no such key", "another method");
  };
  only(s.rf_inversion.has_value(), *s.method == rf_inversion, "rf_inversion");
  only(s.flow_edit.has_value(), *s.method == flow_edit, "flow_edit");
  if (*s.method == flow_edit && (!s.save.empty() || !s.load.empty()))
    fail(ErrorCode::usage, s.save.empty() ? "inversion.load" : "inversion.save", "a method that inverts the picture",
         "flow_edit, which does not");
}

void check_flow_edit(const FlowEditSettings& s, int steps) {
  const auto within = [](const char* name, int value, int low, int high) {
    if (value < low || value > high)
      fail(ErrorCode::usage, std::string("inversion.flow_edit.") + name,
           std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
  };
  within("n_max", *s.n_max, 1, steps);
  within("n_min", s.n_min, 0, *s.n_max);
}

}  // namespace

void check_inversion(const Preset& preset, const Schedule& schedule) {
  const InversionSettings& s = *preset.inversion;
  check_keys(s);
  const bool controlled = *s.method == rf_inversion || *s.method == flow_edit;
  if (controlled && !schedule.config.flow) {
    fail(ErrorCode::usage, "inversion.method", "ddim, fixed_point or second_order but for flow models",
         *s.method == flow_edit ? "flow_edit" : "rf_inversion", "inversion: {method: fixed_point}");
  }
  const bool finds = preset.source->find_mask.has_value();
  if (*s.method == flow_edit && (finds || !preset.source->mask.empty()) && s.flow_edit->n_min > 0) {
    fail(ErrorCode::usage, finds ? "source.find_mask" : "source.mask",
         "n_min: 0 with flow_edit, whose last steps sample the prompt alone", std::to_string(s.flow_edit->n_min));
  }
  if (*s.method == flow_edit) return check_flow_edit(*s.flow_edit, static_cast<int>(schedule.evaluations.size()));
  if (*s.method == rf_inversion && s.rf_inversion->start > s.rf_inversion->stop) {
    fail(ErrorCode::usage, "inversion.rf_inversion.start", "at most stop, " + number_text(s.rf_inversion->stop),
         number_text(s.rf_inversion->start));
  }
  if (*s.method == rf_inversion && !s.save.empty() && preset.images > 1)
    fail(ErrorCode::usage, "inversion.save", "images: 1 with rf_inversion, whose pictures have noise of their own",
         std::to_string(preset.images));
  if (schedule.config.flow) source_schedule(*s.method, schedule);
}

Schedule source_schedule(InversionMethod method, const Schedule& schedule) {
  return method == solver || method == rf_inversion ? inverted(schedule) : schedule;
}

void save_inversion(const std::string& path, const std::vector<Tensor>& states, bool packed) {
  write_safetensors(
      path, {{"latents", packed ? pack_latents(states.front()) : states.front()}, {"trajectory", concat(states, 0)}});
}

std::vector<Tensor> load_inversion(const std::string& path, int64_t steps, const Shape& shape) {
  const TensorMap tensors = read_safetensors(path);
  const auto found = tensors.find("trajectory");
  const Shape wanted{steps + 1, shape[1], shape[2], shape[3]};
  if (found == tensors.end() || !(found->second.shape() == wanted)) {
    fail(ErrorCode::input, path, "a tensor trajectory " + wanted.text(),
         found == tensors.end() ? "none" : found->second.shape().text(), "the steps and size that it was saved with");
  }
  return split(to(found->second, DType::f32), 0, steps + 1);
}

}  // namespace heddle
