// How files name the halves of a layer, and the layers of a part.
#include <algorithm>
#include <array>

#include "io/lora.h"
#include "io/lora_configuration.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class Half : uint8_t {
  up,  // of a LoRA; a and b of the two factors that LyCORIS has
  down,
  mid,
  first_whole,
  first_a,
  first_b,
  first_core,
  second_whole,
  second_a,
  second_b,
  second_core,
  magnitude,
  bias,
  bias_difference,
  alpha
};

struct Ending {
  const char* text;
  Half half;
  std::optional<LoraKind> kind = {};
};
constexpr auto low_rank = LoraKind::low_rank, hadamard = LoraKind::hadamard, kronecker = LoraKind::kronecker,
               whole = LoraKind::whole;
// Longer ones first where one ends another.
constexpr std::array endings{Ending{".lora_linear_layer.down.weight", Half::down, low_rank},
                             Ending{".lora_linear_layer.up.weight", Half::up, low_rank},
                             Ending{".lora_magnitude_vector.weight", Half::magnitude},
                             Ending{".lora_magnitude_vector", Half::magnitude},
                             Ending{".dora_scale", Half::magnitude},
                             Ending{".lora_A.default.weight", Half::down, low_rank},
                             Ending{".lora_B.default.weight", Half::up, low_rank},
                             Ending{".lora_B.default.bias", Half::bias},
                             Ending{".lora_A.weight", Half::down, low_rank},
                             Ending{".lora_B.weight", Half::up, low_rank},
                             Ending{".lora_B.bias", Half::bias},
                             Ending{".lora_down.weight", Half::down, low_rank},
                             Ending{".lora_up.weight", Half::up, low_rank},
                             Ending{".lora_mid.weight", Half::mid, low_rank},
                             Ending{".lora.down.weight", Half::down, low_rank},
                             Ending{".lora.up.weight", Half::up, low_rank},
                             Ending{"_lora.down.weight", Half::down, low_rank},
                             Ending{"_lora.up.weight", Half::up, low_rank},
                             Ending{".down.weight", Half::down, low_rank},  // of ..._lora1 and ..._lora2
                             Ending{".up.weight", Half::up, low_rank},
                             Ending{".hada_w1_a", Half::first_a, hadamard},
                             Ending{".hada_w1_b", Half::first_b, hadamard},
                             Ending{".hada_t1", Half::first_core, hadamard},
                             Ending{".hada_w2_a", Half::second_a, hadamard},
                             Ending{".hada_w2_b", Half::second_b, hadamard},
                             Ending{".hada_t2", Half::second_core, hadamard},
                             Ending{".lokr_w1", Half::first_whole, kronecker},
                             Ending{".lokr_w1_a", Half::first_a, kronecker},
                             Ending{".lokr_w1_b", Half::first_b, kronecker},
                             Ending{".lokr_w2", Half::second_whole, kronecker},
                             Ending{".lokr_w2_a", Half::second_a, kronecker},
                             Ending{".lokr_w2_b", Half::second_b, kronecker},
                             Ending{".lokr_t2", Half::second_core, kronecker},
                             Ending{".diff", Half::first_whole, whole},
                             Ending{".w_norm", Half::first_whole, whole},
                             Ending{".diff_b", Half::bias_difference},
                             Ending{".b_norm", Half::bias_difference},
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
  Ending ending;
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
                .ending = ending};
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

Tensor& place_of(LoraLayer& layer, Half half) {
  switch (half) {
    case Half::first_whole:
      return layer.first.whole;
    case Half::up:
    case Half::first_a:
      return layer.first.a;
    case Half::down:
    case Half::first_b:
      return layer.first.b;
    case Half::mid:
    case Half::first_core:
      return layer.first.core;
    case Half::second_whole:
      return layer.second.whole;
    case Half::second_a:
      return layer.second.a;
    case Half::second_b:
      return layer.second.b;
    case Half::second_core:
      return layer.second.core;
    case Half::magnitude:
      return layer.magnitude;
    case Half::bias_difference:
      return layer.bias_difference;
    default:
      return layer.bias;
  }
}

void set_half(LoraLayer& layer, const Ending& ending, const Tensor& tensor, const std::string& where) {
  if (ending.half == Half::alpha) {
    if (tensor.count() != 1) fail(ErrorCode::input, where, "one number", tensor.shape().text());
    layer.alpha = static_cast<double>(tensor.to_vector()[0]);
    return;
  }
  if (ending.kind && layer.kind && *layer.kind != *ending.kind)
    fail(ErrorCode::input, where, "one kind of adaptation a layer", "tensors of two for " + layer.written);
  if (ending.kind) layer.kind = ending.kind;
  Tensor& place = place_of(layer, ending.half);
  if (place.defined()) fail(ErrorCode::input, where, "each layer once", "a second tensor for " + layer.written);
  place = tensor;
}

}  // namespace

LoraFile::LoraFile(const std::string& path) : path_(path) {
  const SafetensorsFile file(path);
  for (const auto& [name, entry] : file.entries()) {
    const std::string where = path + " " + name;
    const std::optional<Address> address = address_of(name);
    if (!address)
      fail(ErrorCode::input, where, "a LoRA's tensor (lora_A, lora_down, hada_w1_a, lokr_w1, diff, alpha ...)",
           "another name");
    LoraLayer& layer = parts_[address->part][address->layer];
    layer.written = path + " " + name.substr(0, name.find(address->layer) + address->layer.size());
    set_half(layer, address->ending, to(contiguous(file.read(name)), DType::f32), where);
    // LyCORIS writes [out,1,...] or [1,in,...]; PEFT, under another name, [out] and, of convolutions, [1,out,1,1].
    const Shape& shape = entry.shape;
    if (name.ends_with(".dora_scale") && shape.rank() > 1 && shape[0] == 1 && shape.count() > 1)
      layer.magnitude_of_inputs = true;
  }
  if (parts_.empty()) fail(ErrorCode::input, path, "a LoRA", "a file without tensors");
  const LoraConfiguration configuration(file);
  for (auto& [part, layers] : parts_) {
    for (auto& [name, layer] : layers) {
      layer.check();
      if (layer.kind != whole) layer.scaling = configuration.scaling(part, name, layer);
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
