// A table of the families, and what a folder advises.
#include "pipelines/defaults.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace heddle {
namespace {

struct Defaults {
  int steps;
  double guidance, strength;
};

// FLUX schnell is distilled from guidance and from steps, and told of neither.
bool knows_no_guidance(Model& model) {
  return model.family() == Family::flux && !model.traits().guidance_scale;
}

bool is_flow_edit(const Preset& preset) {
  return preset.inversion && preset.inversion->method == InversionMethod::flow_edit;
}

// FlowEdit's own: steps, guidance of the target and of the source.
struct FlowEditDefaults {
  Defaults run;
  double source_guidance, n_max;  // the latter a share of the steps
};

FlowEditDefaults flow_edit_defaults(Model& model) {
  if (model.family() != Family::flux) return {{50, 13.5, 0}, 3.5, 33.0 / 50};
  if (knows_no_guidance(model)) return {{4, 0, 0}, 1, 24.0 / 28};
  return {{28, 5.5, 0}, 1.5, 24.0 / 28};
}

// As the family's pipeline in diffusers has them.
Defaults family_defaults(Task task, Model& model) {
  const bool inpaint = task == Task::inpaint, from_picture = inpaint || task == Task::image_to_image;
  switch (model.family()) {
    case Family::sd3:
      return {from_picture ? 50 : 28, 7, 0.6};
    case Family::flux:
      if (knows_no_guidance(model)) return {4, 0, 0.6};
      return {28, from_picture ? 7 : 3.5, 0.6};
    case Family::sdxl:
      return {50, 5, inpaint ? 1 : 0.3};
    case Family::sd:
      break;
  }
  const double strength = inpaint ? 1 : 0.8;
  return model.traits().guidance_dim > 0 ? Defaults{4, 8.5, strength} : Defaults{50, 7.5, strength};
}

Defaults defaults_of(const Preset& preset, Model& model) {
  if (is_flow_edit(preset)) return flow_edit_defaults(model).run;
  Defaults out = family_defaults(preset.task, model);
  out.steps = model.advice().steps.value_or(out.steps);
  out.guidance = model.advice().guidance.value_or(out.guidance);
  return out;
}

SkipLayers skip_layers(const SkipLayerSettings& asked, const Preset& preset, Model& model) {
  const char* where = "sampler.skip_layer_guidance";
  const int64_t blocks = model.traits().blocks;
  if (blocks == 0) fail(ErrorCode::usage, where, "a model of the SD3 family", "another");
  if (!(*preset.sampler.guidance > 1))
    fail(ErrorCode::usage, where, "sampler.guidance above 1", std::to_string(*preset.sampler.guidance));
  if (!preset.attention.empty()) {
    fail(ErrorCode::usage, where, "no attention methods: they have no part in what is said without blocks",
         preset.attention.front().name, "one of the two");
  }
  SkipLayers out{.blocks = {}, .scale = asked.scale, .start = asked.start, .stop = asked.stop};
  for (const int layer : asked.layers) {
    if (layer >= blocks)
      fail(ErrorCode::usage, std::string(where) + " layers", "blocks in 0.." + std::to_string(blocks - 1),
           std::to_string(layer));
    out.blocks.push_back(layer);
  }
  return out;
}

// Whole steps, as the guiders of diffusers round a share of them.
Steps guided_steps(const SamplerSettings& sampler, double scale) {
  const auto [from, to] = sampler.guidance_interval;
  if (from == 0 && to == 1) return {};
  const char* where = "sampler.guidance_interval";
  if (!(scale > 1))
    fail(ErrorCode::usage, where, "classifier-free guidance above 1", number_text(scale), "leaving it out");
  const Steps out{.begin = static_cast<int>(from * *sampler.steps), .end = static_cast<int>(to * *sampler.steps)};
  if (out.empty()) {
    fail(ErrorCode::usage, where,
         "[start, stop] with a whole step of " + std::to_string(*sampler.steps) + " between them",
         "[" + number_text(from) + ", " + number_text(to) + "]");
  }
  return out;
}

}  // namespace

void fill_defaults(Preset& preset, Model& model) {
  const Defaults defaults = defaults_of(preset, model);
  SamplerSettings& sampler = preset.sampler;
  if (!sampler.steps && sampler.sigmas) sampler.steps = static_cast<int>(sampler.sigmas->size());
  if (!sampler.steps) sampler.steps = defaults.steps;
  if (!sampler.guidance) sampler.guidance = defaults.guidance;
  if (preset.source && !preset.source->strength && preset.task != Task::edit)
    preset.source->strength = defaults.strength;
}

void fill_inversion(Preset& preset, Model& model, bool flow) {
  using enum InversionMethod;
  InversionSettings& s = preset.inversion ? *preset.inversion : preset.inversion.emplace();
  if (!s.method) s.method = flow ? solver : fixed_point;
  if (s.guidance.value_or(0) > 1 && knows_no_guidance(model))
    fail(ErrorCode::usage, "inversion.guidance", "none: this model is told of none", number_text(*s.guidance));
  if (*s.method == rf_inversion && !s.rf_inversion) s.rf_inversion.emplace();
  if (*s.method == flow_edit) {
    const FlowEditDefaults own = flow_edit_defaults(model);
    if (!s.flow_edit) s.flow_edit.emplace();
    if (!s.flow_edit->n_max)
      s.flow_edit->n_max = std::max(1, static_cast<int>(std::lround(own.n_max * *preset.sampler.steps)));
    if (!s.guidance) s.guidance = own.source_guidance;
  }
  if (!s.guidance) s.guidance = flow ? 1 : *preset.sampler.guidance;
}

Guidance guidance_of(const Preset& preset, Model& model) {
  const SamplerSettings& sampler = preset.sampler;
  const bool distilled = model.traits().embeds_guidance() || knows_no_guidance(model);
  if (knows_no_guidance(model) && *sampler.guidance > 1) {
    fail(ErrorCode::usage, "sampler.guidance", "none: this model is told of none", std::to_string(*sampler.guidance),
         "sampler.true_guidance");
  }
  if (sampler.true_guidance && !distilled)
    fail(ErrorCode::usage, "sampler.true_guidance", "a model whose guidance is embedded", "another",
         "sampler.guidance");
  const bool guided = sampler.true_guidance.value_or(1) > 1;
  if (guided && preset.negative.values.empty())
    fail(ErrorCode::usage, "sampler.true_guidance", "a `negative` to guide away from", "none", "negative: \"\"");
  Guidance out{.scale = distilled ? sampler.true_guidance.value_or(1) : *sampler.guidance,
               .rescale = sampler.guidance_rescale};
  out.steps = guided_steps(sampler, out.scale);
  if (sampler.skip_layer_guidance) out.skip = skip_layers(*sampler.skip_layer_guidance, preset, model);
  return out;
}

}  // namespace heddle
