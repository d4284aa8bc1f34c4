// One component (a folder unet/, transformer/, vae/, text_encoder/, or a file) run on named tensors, so that anyone can
// compare it with the original.
#pragma once

#include <memory>
#include <string>

#include "io/safetensors.h"

namespace heddle {

class Component {
 public:
  // `path` and `config_folder` as open_component takes them (io/checkpoint/checkpoint_file.h). Error(input) for a class
  // that heddle does not have.
  static std::unique_ptr<Component> load(const std::string& path, DType compute, const std::string& config_folder = "");

  virtual ~Component() = default;
  virtual std::string class_name() const = 0;

  // Inputs and outputs as the class's `forward` in the original names them, pictures [B,C,H,W]. With a tensor
  // `cotangent` (shaped as the first output) the result also holds `vjp.<first input>`. Error(usage) naming what is
  // missing, misshapen or unknown.
  TensorMap run(const TensorMap& inputs) const;

 protected:
  struct Signature {
    std::string first;                  // the input that gradients are taken of; empty where there is none
    std::vector<std::string> required;  // besides `first`
    std::vector<std::string> optional;
  };
  virtual Signature signature(const TensorMap& inputs) const = 0;
  // The first entry of the result is what a cotangent belongs to.
  virtual std::vector<std::pair<std::string, Tensor>> forward(const TensorMap& inputs) const = 0;
};

}  // namespace heddle
