// One GGUF file: a header of counts, keys with values, tensors with shapes and types, then their data, aligned. Source:
// github.com/ggml-org/ggml, docs/gguf.md (versions 2 and 3, little-endian). Every bound is checked before a byte of
// data is touched; what the header counts is never allocated before it has been read.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/file.h"
#include "io/tensor_file.h"

namespace heddle {

struct GgufTensor {
  Shape shape;  // outermost first; the file has it the other way round
  BlockType type = BlockType::f32;
  int64_t begin = 0;  // bytes from the start of the data
};

class GgufFile final : public TensorFile {
 public:
  // Error(input) naming the file, and the key or tensor at fault.
  explicit GgufFile(const std::string& path);

  const std::string& path() const override { return map_->path(); }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::string& architecture() const { return architecture_; }  // general.architecture: "flux", "sd3", "t5encoder"

  // F32, F16 and BF16 borrowed, quantised ones as f32.
  Tensor read(const std::string& name) const override;
  std::optional<QuantizedMatrix> quantized(const std::string& name) const override;
  void release(const Tensor& tensor) const override;

 private:
  void add(const std::string& name, GgufTensor tensor, int64_t data_size);
  const GgufTensor& at(const std::string& name) const;

  std::shared_ptr<const MappedFile> map_;
  std::map<std::string, GgufTensor> tensors_;
  std::map<std::string, Shape> shapes_;
  std::string architecture_;
  const std::byte* data_ = nullptr;
};

}  // namespace heddle
