// What can be read from names and shapes alone.
#include "io/checkpoint/tensor_shapes.h"

#include "kernels/core/error.h"

namespace heddle {

bool TensorShapes::any(const std::string& prefix) const {
  const auto it = shapes_.lower_bound(prefix);
  return it != shapes_.end() && it->first.starts_with(prefix);
}

const Shape& TensorShapes::at(const std::string& name) const {
  const auto found = shapes_.find(name);
  if (found == shapes_.end())
    fail(ErrorCode::input, where_, "the tensor \"" + name + "\"", "none of that name", "another copy of the file");
  return found->second;
}

int64_t TensorShapes::dim(const std::string& name, int axis) const {
  const Shape& shape = at(name);
  if (axis >= shape.rank())
    fail(ErrorCode::input, where_ + " " + name, "at least " + std::to_string(axis + 1) + " axes", shape.text());
  return shape[axis];
}

int TensorShapes::rank(const std::string& name) const {
  return at(name).rank();
}

int64_t TensorShapes::count(const std::string& prefix) const {
  int64_t n = 0;
  while (any(prefix + "." + std::to_string(n) + ".")) ++n;
  return n;
}

}  // namespace heddle
