// A file of named tensors, whatever its format.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "kernels/ops/quantized.h"

namespace heddle {

class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual const std::string& path() const = 0;
  virtual const std::map<std::string, Shape>& shapes() const = 0;
  // Borrowed from the mapped file where its elements are ones that heddle computes with, else made from them.
  // Error(input) for a name that is not there or a type without numbers.
  virtual Tensor read(const std::string& name) const = 0;
  // A matrix whose numbers the file keeps quantised, as it lies there; nothing for any other tensor.
  virtual std::optional<QuantizedMatrix> quantized(const std::string& /*name*/) const { return std::nullopt; }
  // The pages of a tensor that was borrowed may leave memory.
  virtual void release(const Tensor& tensor) const = 0;
};

}  // namespace heddle
