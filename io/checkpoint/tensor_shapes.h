// The names and shapes of a component's tensors, asked for what its configuration would say.
#pragma once

#include <map>
#include <string>

#include "kernels/core/shape.h"

namespace heddle {

class TensorShapes {
 public:
  // `where`: the file, for errors.
  TensorShapes(std::string where, std::map<std::string, Shape> shapes)
      : where_(std::move(where)), shapes_(std::move(shapes)) {}

  const std::string& where() const { return where_; }
  bool has(const std::string& name) const { return shapes_.contains(name); }
  bool any(const std::string& prefix) const;  // a name that begins so
  // Error(input) naming the tensor where it is missing or has fewer axes.
  int64_t dim(const std::string& name, int axis) const;
  int rank(const std::string& name) const;
  // How many of "prefix.0.", "prefix.1.", ... there are, up to the first that is missing.
  int64_t count(const std::string& prefix) const;

 private:
  const Shape& at(const std::string& name) const;

  std::string where_;
  std::map<std::string, Shape> shapes_;
};

}  // namespace heddle
