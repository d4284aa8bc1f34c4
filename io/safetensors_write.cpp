// Safetensors out.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

std::string type_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i64:
      return "I64";
  }
  return {};
}

int64_t bytes_of(const Tensor& tensor) {
  return tensor.count() * size_of(tensor.dtype());
}

// The name must be UTF-8 for the header to be JSON.
std::string dump(const nlohmann::ordered_json& header, const std::string& path) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorCode::internal, path, "tensor names and metadata in UTF-8", "other bytes");
  }
}

}  // namespace

void write_safetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata) {
  std::vector<TensorMap::const_iterator> order;
  for (auto it = tensors.begin(); it != tensors.end(); ++it) {
    if (!it->second.defined()) fail(ErrorCode::internal, path, "a tensor for " + it->first, "an undefined one");
    order.push_back(it);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const auto& it : order) {
    const Tensor& tensor = it->second;
    const int64_t end = offset + bytes_of(tensor);
    header[it->first] = {{"dtype", type_name(tensor.dtype())},
                         {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dump(header, path);
  text.append((64 - (text.size() + 8) % 64) % 64, ' ');  // the data begin on a cache line of the map

  AtomicFile file(path);
  const uint64_t length = text.size();
  file.write(&length, sizeof(length));
  file.write(text);
  for (const auto& it : order) {
    const Tensor dense = it->second.is_contiguous() ? it->second : contiguous(it->second);
    file.write(dense.bytes(), static_cast<size_t>(bytes_of(dense)));
  }
  file.commit();
}

}  // namespace heddle
