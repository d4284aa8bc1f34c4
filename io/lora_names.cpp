// Aliases of layers.
#include "io/lora_names.h"

#include <algorithm>

#include "io/checkpoint/layouts.h"
#include "io/original_names.h"

namespace heddle {
namespace {

constexpr const char* weight_ending = ".weight";

std::string underscored(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

// XLabs' trainer keeps layers in processors of blocks: ..._lora1 of the image's stream, ..._lora2 of the text's.
LayerNames processor_names() {
  const std::string block = "transformer_blocks.*.attn.", single = "single_transformer_blocks.*.";
  return {{"double_blocks.*.qkv_lora1", {block + "to_q", block + "to_k", block + "to_v"}},
          {"double_blocks.*.qkv_lora2", {block + "add_q_proj", block + "add_k_proj", block + "add_v_proj"}},
          {"double_blocks.*.proj_lora1", {block + "to_out.0"}},
          {"double_blocks.*.proj_lora2", {block + "to_add_out"}},
          {"single_blocks.*.qkv", {single + "attn.to_q", single + "attn.to_k", single + "attn.to_v"}},
          {"single_blocks.*.proj", {single + "proj_out"}}};
}

// The tables of the transformer whose tensors these are; empty for any other network.
LayerNames originals_of(const std::vector<std::string>& names) {
  const auto has = [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); };
  if (has("pos_embed.proj.weight")) {
    int64_t blocks = 0;
    while (has("transformer_blocks." + std::to_string(blocks) + ".norm1.linear.weight")) ++blocks;
    return sd3_names(blocks);
  }
  if (!has("x_embedder.weight")) return {};
  LayerNames all = flux_names();
  const LayerNames processors = processor_names();
  all.insert(all.end(), processors.begin(), processors.end());
  return all;
}

}  // namespace

LoraNames::LoraNames(const std::vector<std::string>& names, LoraPart part) {
  if (part == LoraPart::denoiser) originals_ = originals_of(names);
  for (const std::string& name : names) {
    if (!name.ends_with(weight_ending)) continue;
    const std::string layer = name.substr(0, name.size() - std::string(weight_ending).size());
    add(layer, {layer, {}});
    if (part == LoraPart::denoiser) {
      add_originals(layer);
      continue;
    }
    const std::string model = "text_model.";  // with and without the outermost module
    add(layer.starts_with(model) ? layer.substr(model.size()) : model + layer, {layer, {}});
  }
}

void LoraNames::add(const std::string& alias, const LoraTarget& target) {
  for (const std::string& name : {alias, underscored(alias)}) {
    std::vector<LoraTarget>& targets = targets_[name];
    const auto same = [&](const LoraTarget& t) { return t.layer == target.layer; };
    if (targets.empty() || (target.piece.of > 1 && std::ranges::none_of(targets, same))) targets.push_back(target);
  }
}

void LoraNames::add_originals(const std::string& layer) {
  for (const bool attends : {false, true}) {
    if (const auto original = original_unet_layer(layer, attends)) add(*original, {layer, {}});
  }
  for (const Piece& piece : original_layers(layer, originals_)) add(piece.source, {layer, piece});
}

const std::vector<LoraTarget>& LoraNames::find(const std::string& written) const {
  static const std::vector<LoraTarget> none;
  const auto found = targets_.find(written);
  return found == targets_.end() ? none : found->second;
}

}  // namespace heddle
