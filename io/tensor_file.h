// A file of named tensors, whatever its format.
#pragma once

#include <map>
#include <string>

#include "kernels/core/tensor.h"

namespace heddle {

class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual const std::string& path() const = 0;
  virtual const std::map<std::string, Shape>& shapes() const = 0;
  // Borrowed from the mapped file where its elements are ones that heddle computes with. Error(input) for a name that
  // is not there or another type.
  virtual Tensor read(const std::string& name) const = 0;
  // The pages of a tensor that was borrowed may leave memory.
  virtual void release(const Tensor& tensor) const = 0;
};

}  // namespace heddle
