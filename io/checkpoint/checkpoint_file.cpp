// What a file holds, and where.
#include "io/checkpoint/checkpoint_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/checkpoint/places.h"
#include "io/checkpoint/renamed_weights.h"
#include "io/checkpoint/scaled_tensors.h"
#include "kernels/core/error.h"

namespace heddle {

using checkpoint::Kind, checkpoint::Part, checkpoint::Place;
using checkpoint::sd, checkpoint::sdxl, checkpoint::sd3, checkpoint::flux;

namespace {

// The width of the pooled text that SDXL's UNet is told: published 1280, unless the file's own encoder says another.
int64_t pooled_width(const TensorFile& file) {
  for (const char* encoder : {"conditioner.embedders.1.model.", "conditioner.embedders.0.model."}) {
    const auto found = file.shapes().find(encoder + std::string("text_projection"));
    if (found != file.shapes().end() && found->second.rank() == 2) return found->second[1];
  }
  return 1280;
}

}  // namespace

CheckpointFile::CheckpointFile(const std::string& path) : CheckpointFile(open_tensor_file(path)) {}

CheckpointFile::CheckpointFile(std::shared_ptr<const TensorFile> file) : file_(without_scales(std::move(file))) {
  for (const Place& place : checkpoint::places()) {
    const bool taken = std::ranges::any_of(places_, [&](const Place* p) { return p->part == place.part; });
    if (!taken && file_->shapes().contains(std::string(place.prefix) + place.mark)) places_.push_back(&place);
  }
  if (places_.empty()) {
    const auto& shapes = file_->shapes();
    fail(ErrorCode::input, path(), "a checkpoint of Stable Diffusion 1, 2, XL or 3, of FLUX.1, or a part of one",
         shapes.empty() ? "no tensors" : "other tensors, such as \"" + shapes.begin()->first + "\"");
  }
}

std::string CheckpointFile::pipeline() const {
  for (const Place* place : places_) {
    if (place->part != Part::denoiser) continue;
    if (place->kind == Kind::flux) return flux;
    if (place->kind == Kind::sd3) return sd3;
    const std::string prefix = place->prefix;
    const bool sizes = file_->shapes().contains(prefix + "label_emb.0.0.weight") ||
                       file_->shapes().contains(prefix + "add_embedding.linear_1.weight");
    if (!sizes) return sd;
    const bool refines = is_refiner(checkpoint::shapes_behind(*file_, prefix), pooled_width(*file_));
    return refines ? checkpoint::sdxl_refiner : sdxl;
  }
  return "";
}

std::string CheckpointFile::name_of(const Place& place) const {
  switch (place.part) {
    case Part::denoiser: {
      const std::string of = pipeline();
      return of == sd || checkpoint::is_sdxl(of) ? "unet" : "transformer";
    }
    case Part::vae:
      return "vae";
    case Part::text_2:
      return "text_encoder_2";
    case Part::t5:
      return pipeline() == flux ? "text_encoder_2" : "text_encoder_3";
    case Part::text_1:
    case Part::text:
      break;
  }
  return "text_encoder";
}

std::vector<std::string> CheckpointFile::components() const {
  std::vector<std::string> out;
  for (const Place* place : places_) out.push_back(name_of(*place));
  return out;
}

const Place* CheckpointFile::place_of(const std::string& component) const {
  for (const Place* place : places_) {
    if (name_of(*place) == component || (place->part == Part::text && component.starts_with("text_encoder")))
      return place;
  }
  return nullptr;
}

ComponentSource CheckpointFile::open(const std::string& component, const std::string& pipeline_of,
                                     const std::optional<Json>& config) const {
  const Place* place = place_of(component);
  if (!place) {
    std::string held;
    for (const std::string& name : components()) held += (held.empty() ? "" : ", ") + name;
    fail(ErrorCode::input, path(), "a component " + component, held);
  }
  const std::string family = pipeline_of.empty() ? pipeline() : pipeline_of;
  const TensorShapes theirs = checkpoint::shapes_behind(*file_, place->prefix);
  const ClipRole role = checkpoint::clip_role(component, family, place->kind, theirs);
  auto weights = std::make_unique<RenamedWeights>(
      file_, pieces_of(file_->shapes(), place->prefix, checkpoint::names_of(place->kind, theirs, role), path()));
  const TensorShapes ours = weights->shapes();
  const bool clip = place->kind == Kind::clip || place->kind == Kind::open_clip;
  if (clip && role.projection && !weights->has("text_projection.weight"))
    weights->add_identity("text_projection.weight", clip_width(ours));
  if (config) return {*config, std::move(weights)};
  const nlohmann::json implied = checkpoint::config_of({.kind = place->kind,
                                                        .theirs = theirs,
                                                        .ours = ours,
                                                        .role = role,
                                                        .pipeline = family,
                                                        .pooled_width = pooled_width(*file_)});
  return {Json::parse(implied.dump(), path() + " " + component), std::move(weights)};
}

}  // namespace heddle
