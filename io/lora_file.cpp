// How files name the halves of a layer, and the layers of a part.
#include <algorithm>
#include <array>
#include <cmath>

#include "io/json.h"
#include "io/lora.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class Half : uint8_t { down, up, mid, magnitude, bias, alpha };

struct Ending {
  const char* text;
  Half half;
};
// Longer ones first where one ends another.
constexpr std::array endings{Ending{".lora_linear_layer.down.weight", Half::down},
                             Ending{".lora_linear_layer.up.weight", Half::up},
                             Ending{".lora_magnitude_vector.weight", Half::magnitude},
                             Ending{".lora_magnitude_vector", Half::magnitude},
                             Ending{".dora_scale", Half::magnitude},
                             Ending{".lora_A.default.weight", Half::down},
                             Ending{".lora_B.default.weight", Half::up},
                             Ending{".lora_B.default.bias", Half::bias},
                             Ending{".lora_A.weight", Half::down},
                             Ending{".lora_B.weight", Half::up},
                             Ending{".lora_B.bias", Half::bias},
                             Ending{".lora_down.weight", Half::down},
                             Ending{".lora_up.weight", Half::up},
                             Ending{".lora_mid.weight", Half::mid},
                             Ending{".lora.down.weight", Half::down},
                             Ending{".lora.up.weight", Half::up},
                             Ending{"_lora.down.weight", Half::down},
                             Ending{"_lora.up.weight", Half::up},
                             Ending{".down.weight", Half::down},  // of ..._lora1 and ..._lora2
                             Ending{".up.weight", Half::up},
                             Ending{".alpha", Half::alpha}};

struct Prefix {
  const char* text;
  LoraPart part;
};
constexpr std::array prefixes{Prefix{"text_encoder_3.", LoraPart::text_encoder_3},
                              Prefix{"text_encoder_2.", LoraPart::text_encoder_2},
                              Prefix{"text_encoder.", LoraPart::text_encoder},
                              Prefix{"lora_te3_", LoraPart::text_encoder_3},
                              Prefix{"lora_te2_", LoraPart::text_encoder_2},
                              Prefix{"lora_te1_", LoraPart::text_encoder},
                              Prefix{"lora_te_", LoraPart::text_encoder},
                              Prefix{"lora_unet_", LoraPart::denoiser},
                              Prefix{"lora_transformer_", LoraPart::denoiser},
                              Prefix{"base_model.model.", LoraPart::denoiser},
                              Prefix{"diffusion_model.", LoraPart::denoiser},
                              Prefix{"transformer.", LoraPart::denoiser},
                              Prefix{"unet.", LoraPart::denoiser}};

struct Address {
  LoraPart part = LoraPart::denoiser;
  std::string layer;
  Half half = Half::down;
};

// Older diffusers files hold their layers in attention processors: attn1.processor.to_out_lora is attn1.to_out.0.
std::string without_processor(std::string layer) {
  const std::string processor = ".processor";
  if (const size_t at = layer.find(processor); at != std::string::npos) layer.erase(at, processor.size());
  if (layer.ends_with(".to_out")) layer += ".0";
  return layer;
}

std::optional<Address> address_of(const std::string& name) {
  for (const Ending& ending : endings) {
    if (!name.ends_with(ending.text)) continue;
    Address out{.layer = without_processor(name.substr(0, name.size() - std::string(ending.text).size())),
                .half = ending.half};
    for (const Prefix& prefix : prefixes) {
      if (!out.layer.starts_with(prefix.text)) continue;
      out.part = prefix.part;
      out.layer.erase(0, std::string(prefix.text).size());
      break;
    }
    return out;
  }
  return std::nullopt;
}

void set_half(LoraLayer& layer, Half half, const Tensor& tensor, const std::string& where) {
  if (half == Half::alpha) {
    if (tensor.count() != 1) fail(ErrorCode::input, where, "one number", tensor.shape().text());
    layer.alpha = static_cast<double>(tensor.to_vector()[0]);
    return;
  }
  Tensor& place = half == Half::down        ? layer.down
                  : half == Half::up        ? layer.up
                  : half == Half::mid       ? layer.mid
                  : half == Half::magnitude ? layer.magnitude
                                            : layer.bias;
  if (place.defined()) fail(ErrorCode::input, where, "each layer once", "a second tensor for " + layer.written);
  place = tensor;
}

void check(const LoraLayer& layer) {
  const auto matrix = [](const Tensor& x) { return x.defined() && (x.rank() == 2 || x.rank() == 4) && x.count() > 0; };
  if (!matrix(layer.down) || !matrix(layer.up))
    fail(ErrorCode::input, layer.written, "both halves of the layer, matrices or convolutions",
         layer.down.defined() ? layer.up.defined() ? "another rank of tensor" : "its down half alone" : "no down half");
  const int64_t inner = layer.mid.defined() ? layer.mid.rank() == 4 ? layer.mid.dim(0) : -1 : layer.down.dim(0);
  if (layer.up.dim(1) != inner || layer.up.count() != layer.up.dim(0) * layer.up.dim(1))
    fail(ErrorCode::input, layer.written, "halves of one rank",
         layer.down.shape().text() + " and " + layer.up.shape().text());
}

// What diffusers writes beside the tensors: PEFT's configuration of each part, as one JSON text.
class Configuration {
 public:
  explicit Configuration(const SafetensorsFile& file) {
    const auto found = file.metadata().find("lora_adapter_metadata");
    if (found != file.metadata().end()) json_ = Json::parse(found->second, file.path() + " lora_adapter_metadata");
  }

  // Multiplied with up down in place of alpha / rank, where the configuration says so.
  std::optional<double> scaling(LoraPart part, const std::string& layer, int64_t rank) const {
    if (!json_) return std::nullopt;
    const std::string prefix = prefix_of(part);
    if (!json_->has(prefix + "lora_alpha")) return std::nullopt;
    auto alpha = json_->get<double>(prefix + "lora_alpha");
    if (json_->has(prefix + "alpha_pattern")) {
      const auto pattern = json_->get<Json>(prefix + "alpha_pattern");
      for (const std::string& key : pattern.keys()) {
        if (matches(layer, key)) alpha = pattern.get<double>(key);
      }
    }
    const bool root = json_->get_or<bool>(prefix + "use_rslora", false);
    const auto r = static_cast<double>(rank);
    return alpha / (root ? std::sqrt(r) : r);
  }

 private:
  // Denoisers of other kinds than the UNet are called transformer.
  std::string prefix_of(LoraPart part) const {
    if (part == LoraPart::text_encoder) return "text_encoder.";
    if (part == LoraPart::text_encoder_2) return "text_encoder_2.";
    if (part == LoraPart::text_encoder_3) return "text_encoder_3.";
    return json_->has("unet.lora_alpha") ? "unet." : "transformer.";
  }
  static bool matches(const std::string& layer, const std::string& key) {
    if (key.starts_with("^")) return layer == key.substr(1);
    return layer == key || layer.ends_with("." + key);
  }

  std::optional<Json> json_;
};

}  // namespace

LoraFile::LoraFile(const std::string& path) : path_(path) {
  const SafetensorsFile file(path);
  for (const auto& [name, entry] : file.entries()) {
    const std::string where = path + " " + name;
    if (name.find(".hada_") != name.npos || name.find(".lokr_") != name.npos)
      fail(ErrorCode::input, where, "a LoRA", "a LoHa or LoKr", "converting it to a LoRA");
    const std::optional<Address> address = address_of(name);
    if (!address) fail(ErrorCode::input, where, "a LoRA's tensor (lora_A, lora_down, alpha ...)", "another name");
    LoraLayer& layer = parts_[address->part][address->layer];
    layer.written = path + " " + name.substr(0, name.find(address->layer) + address->layer.size());
    set_half(layer, address->half, to(contiguous(file.read(name)), DType::f32), where);
    // LyCORIS writes [out,1,...] or [1,in,...]; PEFT, under another name, [out] and, of convolutions, [1,out,1,1].
    const Shape& shape = entry.shape;
    if (name.ends_with(".dora_scale") && shape.rank() > 1 && shape[0] == 1 && shape.count() > 1)
      layer.magnitude_of_inputs = true;
  }
  if (parts_.empty()) fail(ErrorCode::input, path, "a LoRA", "a file without tensors");
  const Configuration configuration(file);
  for (auto& [part, layers] : parts_) {
    for (auto& [name, layer] : layers) {
      check(layer);
      const auto rank = layer.down.dim(0);
      layer.scaling =
          layer.alpha ? *layer.alpha / static_cast<double>(rank) : configuration.scaling(part, name, rank).value_or(1);
    }
  }
}

const std::map<std::string, LoraLayer>& LoraFile::layers(LoraPart part) const {
  static const std::map<std::string, LoraLayer> none;
  const auto found = parts_.find(part);
  return found == parts_.end() ? none : found->second;
}

void LoraFile::reassign(LoraPart from, LoraPart to) {
  auto moved = parts_.extract(from);
  if (!moved) return;
  auto& layers = parts_[to];
  layers.merge(moved.mapped());
  if (moved.mapped().empty()) return;
  const auto& [name, twice] = *moved.mapped().begin();
  fail(ErrorCode::input, twice.written, "each layer once", "another one at " + layers.at(name).written);
}

}  // namespace heddle
