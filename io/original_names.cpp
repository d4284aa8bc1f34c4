// The UNet's two layouts. Source: the conversion scripts of diffusers (convert_from_ckpt), read backwards.
#include "io/original_names.h"

#include <array>
#include <utility>
#include <vector>

namespace heddle {
namespace {

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> out{""};
  for (const char c : name) {
    if (c == '.') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& parts, size_t from) {
  std::string out;
  for (size_t i = from; i < parts.size(); ++i) out += "." + parts[i];
  return out;
}

std::optional<int> number(const std::string& text) {
  if (text.empty() || text.size() > 4 || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  return std::stoi(text);
}

using Renaming = std::pair<const char*, const char*>;

// Inside a residual block.
std::string resnet_layer(const std::string& name) {
  constexpr std::array<Renaming, 6> renamed{{{".norm1", ".in_layers.0"},
                                             {".conv1", ".in_layers.2"},
                                             {".time_emb_proj", ".emb_layers.1"},
                                             {".norm2", ".out_layers.0"},
                                             {".conv2", ".out_layers.3"},
                                             {".conv_shortcut", ".skip_connection"}}};
  for (const auto& [ours, theirs] : renamed) {
    if (name == ours) return theirs;
  }
  return name;
}

// Which place of its original block a diffusers block stands at: "down_blocks.I.attentions.J" and so on.
std::optional<std::string> in_down(const std::vector<std::string>& parts, int layers) {
  const auto block = number(parts[1]), layer = number(parts[3]);
  if (!block || !layer) return std::nullopt;
  const int first = 1 + *block * (layers + 1);
  const auto at = [&](int place, const std::string& rest) {
    return "input_blocks." + std::to_string(first + *layer) + "." + std::to_string(place) + rest;
  };
  if (parts[2] == "resnets") return at(0, resnet_layer(joined(parts, 4)));
  if (parts[2] == "attentions") return at(1, joined(parts, 4));
  if (parts[2] == "downsamplers" && parts.size() == 5 && parts[4] == "conv")
    return "input_blocks." + std::to_string(first + layers) + ".0.op";
  return std::nullopt;
}

std::optional<std::string> in_up(const std::vector<std::string>& parts, int layers, bool attends) {
  const auto block = number(parts[1]), layer = number(parts[3]);
  if (!block || !layer) return std::nullopt;
  const int first = *block * (layers + 1);
  const auto at = [&](int index, int place, const std::string& rest) {
    return "output_blocks." + std::to_string(first + index) + "." + std::to_string(place) + rest;
  };
  if (parts[2] == "resnets") return at(*layer, 0, resnet_layer(joined(parts, 4)));
  if (parts[2] == "attentions") return at(*layer, 1, joined(parts, 4));
  if (parts[2] == "upsamplers" && parts.size() == 5 && parts[4] == "conv") return at(layers, attends ? 2 : 1, ".conv");
  return std::nullopt;
}

std::optional<std::string> in_middle(const std::vector<std::string>& parts) {
  const auto layer = number(parts[2]);
  if (!layer) return std::nullopt;
  if (parts[1] == "attentions") return "middle_block.1" + joined(parts, 3);
  if (parts[1] == "resnets" && *layer < 2)
    return "middle_block." + std::to_string(2 * *layer) + resnet_layer(joined(parts, 3));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> original_unet_layer(const std::string& layer, bool attends, int layers_per_block) {
  constexpr std::array<Renaming, 8> outside{{{"conv_in", "input_blocks.0.0"},
                                             {"time_embedding.linear_1", "time_embed.0"},
                                             {"time_embedding.linear_2", "time_embed.2"},
                                             {"add_embedding.linear_1", "label_emb.0.0"},
                                             {"add_embedding.linear_2", "label_emb.0.2"},
                                             {"class_embedding.linear_1", "label_emb.0.0"},
                                             {"conv_norm_out", "out.0"},
                                             {"conv_out", "out.2"}}};
  for (const auto& [ours, theirs] : outside) {
    if (layer == ours) return theirs;
  }
  const std::vector<std::string> parts = parts_of(layer);
  if (parts.size() >= 4 && parts[0] == "mid_block") return in_middle(parts);
  if (parts.size() < 5) return std::nullopt;
  if (parts[0] == "down_blocks") return in_down(parts, layers_per_block);
  if (parts[0] == "up_blocks") return in_up(parts, layers_per_block, attends);
  return std::nullopt;
}

}  // namespace heddle
