// A file of tensors of which names and shapes count; each element is its index.
#pragma once

#include <map>
#include <string>

#include "io/tensor_file.h"

namespace heddle::testing {

class ShapesOnly final : public TensorFile {
 public:
  explicit ShapesOnly(std::map<std::string, Shape> shapes) : shapes_(std::move(shapes)) {}
  const std::string& path() const override { return path_; }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  Tensor read(const std::string& name) const override {
    Tensor out = Tensor::empty(shapes_.at(name));
    float* to = out.fill_data<float>();
    for (int64_t i = 0; i < out.count(); ++i) to[i] = static_cast<float>(i);
    return out;
  }
  void release(const Tensor&) const override {}

 private:
  std::string path_ = "model.safetensors";
  std::map<std::string, Shape> shapes_;
};

}  // namespace heddle::testing
