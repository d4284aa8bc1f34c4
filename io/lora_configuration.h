// How strongly a file's layers are meant: by their own alpha, else by PEFT's configuration, which diffusers writes into
// the file's metadata and PEFT itself into an adapter_config.json beside its adapter_model.safetensors.
#pragma once

#include <optional>
#include <string>

#include "io/json.h"
#include "io/lora.h"

namespace heddle {

class LoraConfiguration {
 public:
  // Error(input) for a configuration that is no JSON.
  explicit LoraConfiguration(const SafetensorsFile& file);

  // What a layer's difference is multiplied with: alpha / rank, or alpha / sqrt(rank) where the configuration says so;
  // 1 where nobody gives alpha, and for Kronecker products of whole factors, whose alpha LyCORIS does not use.
  double scaling(LoraPart part, const std::string& name, const LoraLayer& layer) const;

 private:
  std::string prefix_of(LoraPart part) const;

  std::optional<Json> json_;
  bool own_file_ = false;  // adapter_config.json, whose keys have no part in front
};

}  // namespace heddle
