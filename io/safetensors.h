// One safetensors file: 8 bytes of header length, a JSON header, then the tensors end to end without holes or overlaps.
// https://github.com/huggingface/safetensors (format). Every bound is checked before a byte of data is touched.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "kernels/core/tensor.h"

namespace heddle {

struct TensorEntry {
  std::string type;  // as the file spells it: "F32", "BF16", "I64", ...
  Shape shape;
  int64_t begin = 0, end = 0;  // bytes from the start of the data
};

using TensorMap = std::map<std::string, Tensor>;
using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  // Error(input) naming the file, and the tensor where one is at fault.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return map_->path(); }
  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  const Metadata& metadata() const { return metadata_; }
  bool has(const std::string& name) const { return entries_.contains(name); }

  // F32, F16, BF16 and I64 are borrowed from the map as they lie. F64 becomes f32, eight-bit floats bf16; BOOL and the
  // other whole numbers become i64. Error(input) for a name that is not there or a type that heddle cannot compute with.
  Tensor read(const std::string& name) const;

  // The pages of a tensor that was borrowed from this file may leave memory; any other tensor is left alone.
  void release(const Tensor& tensor) const;

 private:
  int64_t read_header();

  std::shared_ptr<const MappedFile> map_;
  std::map<std::string, TensorEntry> entries_;
  Metadata metadata_;
  const std::byte* data_ = nullptr;
};

TensorMap read_safetensors(const std::string& path);

// Whole or not at all. Tensors go out as f32, f16, bf16 or i64, the widest first, so that each lies aligned.
void write_safetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata = {});

// Bytes of one element of a type of the format; 0 for a name that the format does not have.
int64_t element_size(const std::string& type);

}  // namespace heddle
