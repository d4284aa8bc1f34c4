// Where layers take their weights from: a tree of names that mirrors the checkpoint ("down_blocks.0.resnets.1.conv1").
#pragma once

#include <optional>
#include <string>

#include "kernels/core/tensor.h"
#include "kernels/ops/quantized.h"

namespace heddle {

// Named tensors of one component. Implemented over safetensors in io/weights.h.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual bool has(const std::string& name) const = 0;
  // The tensor as stored (borrowed from the mapped file); marks it as used. Error(input) naming the tensor where it is
  // missing or `shape` differs.
  virtual Tensor take(const std::string& name, const Shape& shape) = 0;
  // As take, whatever its shape.
  virtual Tensor take_any(const std::string& name) = 0;
  // A matrix that is stored quantised, for a linear layer to use as it is; nothing for any other, which take() gives.
  virtual std::optional<QuantizedWeight> take_quantized(const std::string& /*name*/, const Shape& /*shape*/) {
    return std::nullopt;
  }
  // The caller has copied or packed the tensor: its pages may leave memory.
  virtual void release(const Tensor& tensor) = 0;
};

class Scope {
 public:
  Scope(WeightSource& source, DType compute) : source_(&source), compute_(compute) {}

  Scope operator/(const std::string& name) const;
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  const std::string& path() const { return path_; }
  DType compute() const { return compute_; }  // dtype the layers below will compute in
  Scope in(DType compute) const;              // the same place, another compute dtype
  WeightSource& source() const { return *source_; }

  bool has(const std::string& name) const;
  Tensor take(const std::string& name, const Shape& shape) const;
  Tensor take_f32(const std::string& name, const Shape& shape) const;  // an f32 copy; the stored pages are released
  std::optional<QuantizedWeight> take_quantized(const std::string& name, const Shape& shape) const {
    return source_->take_quantized(full(name), shape);
  }
  void release(const Tensor& tensor) const { source_->release(tensor); }

 private:
  std::string full(const std::string& name) const { return path_.empty() ? name : path_ + "." + name; }

  WeightSource* source_;
  DType compute_;
  std::string path_;
};

}  // namespace heddle
