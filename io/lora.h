// Low-rank adaptations (LoRA: Hu et al. 2021, arXiv 2106.09685) laid over the weights of a network as it is built:
//   W' = W + weight * alpha / rank * up down,
// for linear layers and convolutions (LoCon: down [r,in,kh,kw], up [out,r,1,1], mid [r,r,kh,kw]), with biases and with
// DoRA's magnitudes (Liu et al. 2024, arXiv 2402.09353). Files of PEFT, diffusers (new and old) and kohya's scripts.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "kernels/layers/scope.h"

namespace heddle {

// The parts of a pipeline that files name; a file without prefixes is of the denoiser.
enum class LoraPart : uint8_t { denoiser, text_encoder, text_encoder_2, text_encoder_3 };

// One adapted layer. Tensors are f32; those a file does not have are undefined.
struct LoraLayer {
  std::string written;  // as the file names it, for errors
  Tensor down, up, mid, magnitude, bias;
  std::optional<double> alpha;
  double scaling = 1;  // alpha / rank; 1 where the file gives no alpha
  bool magnitude_of_inputs = false;
};

class LoraFile {
 public:
  // Error(input) for a file that is no LoRA, for halves without their other half, for LoHa and LoKr.
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
  // Over quantised matrices adaptations stay beside: no sum is stored. Error(input) for DoRA, which scales the sum.
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
