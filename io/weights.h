// The weights of one component: a folder's ("unet/") safetensors file or the shards of an index, and which of the
// tensors a model has taken.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "io/tensor_file.h"
#include "kernels/layers/scope.h"

namespace heddle {

// A safetensors file, or the files of a "*.index.json" beside them, as one set of names.
class SafetensorsSet final : public TensorFile {
 public:
  // `path`: a .safetensors file or an index. Error(input) for shards that are missing, lie outside the folder, or lack
  // a tensor that the index places in them.
  explicit SafetensorsSet(const std::string& path);

  const std::string& path() const override { return path_; }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  const std::map<std::string, int>& names() const { return names_; }  // tensor to shard
  const std::vector<SafetensorsFile>& shards() const { return shards_; }
  const TensorEntry& entry(const std::string& name) const;
  Tensor read(const std::string& name) const override;
  void release(const Tensor& tensor) const override;

 private:
  void add_index(const std::string& path);
  void add_shard(const std::string& file);
  const SafetensorsFile& shard_of(const std::string& name) const;

  std::string path_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, int> names_;
  std::map<std::string, Shape> shapes_;
};

// The weights of one component under diffusers' names, and which of them were taken.
class ComponentWeights : public WeightSource {
 public:
  virtual std::vector<std::string> names() const = 0;  // sorted
  // Error(input) that names tensors no layer has taken: the checkpoint is of another model than its config says.
  virtual void require_all_used() const = 0;
};

// The weights file of a component folder: diffusion_pytorch_model or model, whole or sharded, plain before `fp16`
// variants. Error(input) naming what the folder holds instead.
std::string find_weights(const std::string& folder);

// The error of tensors that no layer has taken.
[[noreturn]] void fail_unused(const std::string& path, const std::vector<std::string>& names);

class Weights final : public ComponentWeights {
 public:
  // A component folder, a .safetensors file or an index.
  explicit Weights(const std::string& path);

  bool has(const std::string& name) const override { return tensors_.names().contains(name); }
  Tensor take(const std::string& name, const Shape& shape) override;
  Tensor take_any(const std::string& name) override;
  void release(const Tensor& tensor) override { tensors_.release(tensor); }

  const SafetensorsSet& tensors() const { return tensors_; }
  std::vector<std::string> names() const override;
  std::vector<std::string> unused() const;  // sorted
  void require_all_used() const override;

 private:
  SafetensorsSet tensors_;
  std::set<std::string> used_;
};

}  // namespace heddle
