// By which names files of LoRAs call the layers of a network: its own, its authors', either with "_" throughout.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/checkpoint/layer_names.h"
#include "io/lora.h"

namespace heddle {

// A layer of the network, and which rows of the layer in the file are its own.
struct LoraTarget {
  std::string layer;
  Piece piece;
};

class LoraNames {
 public:
  // `names`: all tensors of the network.
  LoraNames(const std::vector<std::string>& names, LoraPart part);
  // Several where authors join what the network has apart (q, k and v); none for a name that means nothing here.
  const std::vector<LoraTarget>& find(const std::string& written) const;

 private:
  void add(const std::string& alias, const LoraTarget& target);
  void add_originals(const std::string& layer);

  std::map<std::string, std::vector<LoraTarget>> targets_;
  LayerNames originals_;  // of the network's kind
};

}  // namespace heddle
