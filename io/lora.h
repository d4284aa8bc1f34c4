// Adaptations laid over the weights of a network as it is built: LoRA, its kin LoHa and LoKr, whole differences
// (io/lora_layer.h), for linear layers, convolutions and norms. Files of PEFT, diffusers (new and old), kohya's scripts
// and LyCORIS.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/lora_layer.h"
#include "io/safetensors.h"
#include "kernels/layers/scope.h"

namespace heddle {

// The parts of a pipeline that files name; a file without prefixes is of the denoiser.
enum class LoraPart : uint8_t { denoiser, text_encoder, text_encoder_2, text_encoder_3 };

class LoraFile {
 public:
  // Error(input) for a file that is no LoRA and for layers that are not whole.
  explicit LoraFile(const std::string& path);

  const std::string& path() const { return path_; }
  // Layers of a part by name: dotted as in the network, or with "_" throughout where kohya wrote them.
  const std::map<std::string, LoraLayer>& layers(LoraPart part) const;
  // Layers of one part are meant for another. Error(input) where that has one of the same name.
  void reassign(LoraPart from, LoraPart to);

 private:
  std::string path_;
  std::map<LoraPart, std::map<std::string, LoraLayer>> parts_;
};

struct AskedLora {
  const LoraFile* file = nullptr;
  double weight = 1;  // 0 leaves the weights as they are, bit for bit
};

// A network's weights with LoRAs laid over them, in order.
class LoraWeights final : public WeightSource {
 public:
  // `names`: all tensors of `base`. Error(input) for a layer that the network has not.
  LoraWeights(WeightSource& base, const std::vector<std::string>& names, LoraPart part,
              const std::vector<AskedLora>& loras);

  bool has(const std::string& name) const override;
  Tensor take(const std::string& name, const Shape& shape) override;
  Tensor take_any(const std::string& name) override;
  // Over quantised matrices adaptations stay beside: no sum is stored. Error(input) for those that are no two thin
  // matrices, and for DoRA, which scales the sum.
  std::optional<QuantizedWeight> take_quantized(const std::string& name, const Shape& shape) override;
  void release(const Tensor& tensor) override;

 private:
  struct Delta {
    LoraLayer layer;  // of a layer that the file adapts together with others, the rows that are this one's
    double weight;
  };
  Tensor adapted(const std::string& name, Tensor weight) const;

  WeightSource& base_;
  std::map<std::string, std::vector<Delta>> deltas_;  // by layer, "down_blocks.0.resnets.1.conv1"
};

}  // namespace heddle
