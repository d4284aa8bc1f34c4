// GGUF: header checks, borrowed reads, quantised matrices.
#include "io/gguf.h"

#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "io/gguf_cursor.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int64_t longest_name = 65535, most_tensors = 1 << 20;

// The numbers that the format gives to types. Others exist; heddle has no blocks for them.
struct FileType {
  uint32_t number;
  BlockType type;
};
constexpr std::array file_types{
    FileType{0, BlockType::f32},     FileType{1, BlockType::f16},   FileType{2, BlockType::q4_0},
    FileType{3, BlockType::q4_1},    FileType{6, BlockType::q5_0},  FileType{7, BlockType::q5_1},
    FileType{8, BlockType::q8_0},    FileType{10, BlockType::q2_k}, FileType{11, BlockType::q3_k},
    FileType{12, BlockType::q4_k},   FileType{13, BlockType::q5_k}, FileType{14, BlockType::q6_k},
    FileType{20, BlockType::iq4_nl}, FileType{30, BlockType::bf16}};

BlockType block_type(uint32_t number, const std::string& where) {
  for (const FileType& known : file_types) {
    if (known.number == number) return known.type;
  }
  fail(ErrorCode::input, where, "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL or Q2_K to Q6_K",
       "type " + std::to_string(number), "a file quantised to one of these");
}

// Name, axes, type, place: as they stand in the header.
std::pair<std::string, GgufTensor> read_tensor(GgufCursor& header) {
  const std::string name = header.text(longest_name);
  const std::string where = header.path() + " " + name;
  const auto axes = header.number<uint32_t>();
  if (axes > 4) fail(ErrorCode::input, where, "at most 4 axes", std::to_string(axes));
  std::vector<int64_t> dims;
  for (uint32_t i = 0; i < axes; ++i) {
    const auto dim = header.number<uint64_t>();
    if (dim > uint64_t{1} << 40) fail(ErrorCode::input, where, "extents of at most 2^40", std::to_string(dim));
    dims.insert(dims.begin(), static_cast<int64_t>(dim));
  }
  GgufTensor tensor{.shape = Shape(std::span(dims)), .type = block_type(header.number<uint32_t>(), where)};
  const auto begin = header.number<uint64_t>();
  if (begin > uint64_t{1} << 60)
    fail(ErrorCode::input, where, "data inside the file", "offset " + std::to_string(begin));
  tensor.begin = static_cast<int64_t>(begin);
  return {name, tensor};
}

DType dtype_of(BlockType type) {
  return type == BlockType::f16 ? DType::f16 : type == BlockType::bf16 ? DType::bf16 : DType::f32;
}

bool is_plain(BlockType type) {
  return format_of(type).elements == 1;
}

// Bytes of a tensor whose rows are whole blocks.
int64_t bytes_of(const GgufTensor& tensor, const std::string& where) {
  const BlockFormat& format = format_of(tensor.type);
  const int64_t row = tensor.shape.rank() > 0 ? tensor.shape.back() : 1;
  if (row % format.elements != 0) {
    fail(ErrorCode::input, where,
         "rows in blocks of " + std::to_string(format.elements) + " for " + std::string(format.name),
         tensor.shape.text());
  }
  int64_t elements = 1, bytes = 0;
  bool fits = true;
  for (const int64_t dim : tensor.shape) fits &= !__builtin_mul_overflow(elements, dim, &elements);
  fits &= !__builtin_mul_overflow(elements / format.elements, format.bytes, &bytes);
  if (!fits) fail(ErrorCode::input, where, "a shape of less than 2^63 bytes", tensor.shape.text());
  return bytes;
}

}  // namespace

GgufFile::GgufFile(const std::string& path) : map_(MappedFile::open(path)) {
  GgufCursor header(map_->bytes(), path);
  header.read_magic();
  const auto count = header.number<uint64_t>(), keys = header.number<uint64_t>();
  if (count > most_tensors) fail(ErrorCode::input, path, "at most 2^20 tensors", std::to_string(count));
  int64_t alignment = 32;
  std::set<std::string> seen;
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = header.text(longest_name);
    if (!seen.insert(key).second) fail(ErrorCode::input, path, "each key once", "\"" + key + "\" twice");
    const auto type = header.number<uint32_t>();
    if (key == "general.architecture" && type == GgufCursor::text_type)
      architecture_ = header.text(longest_name);
    else if (key == "general.alignment" && type == GgufCursor::u32_type)
      alignment = header.number<uint32_t>();
    else
      header.skip_value(type);
  }
  if (alignment < 1 || alignment > 1 << 16 || (alignment & (alignment - 1)) != 0)
    fail(ErrorCode::input, path + " general.alignment", "a power of two up to 65536", std::to_string(alignment));
  std::vector<std::pair<std::string, GgufTensor>> listed;
  for (uint64_t i = 0; i < count; ++i) listed.push_back(read_tensor(header));
  const int64_t start = (header.position() + alignment - 1) / alignment * alignment;
  const int64_t size = static_cast<int64_t>(map_->bytes().size()) - start;
  data_ = map_->bytes().data() + start;
  for (auto& [name, tensor] : listed) add(name, tensor, size);
}

void GgufFile::add(const std::string& name, GgufTensor tensor, int64_t data_size) {
  const std::string where = path() + " " + name;
  if (name.empty()) fail(ErrorCode::input, path(), "tensors with names", "an empty name");
  const int64_t bytes = bytes_of(tensor, where);
  if (data_size < 0 || bytes > data_size || tensor.begin > data_size - bytes) {
    fail(ErrorCode::input, where, std::to_string(bytes) + " bytes inside the data of " + std::to_string(data_size),
         "offset " + std::to_string(tensor.begin), "another copy of the file");
  }
  shapes_.emplace(name, tensor.shape);
  if (!tensors_.emplace(name, std::move(tensor)).second) fail(ErrorCode::input, where, "each tensor once", "a second");
}

const GgufTensor& GgufFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(ErrorCode::input, path(), "the tensor \"" + name + "\"", "none of that name");
  return found->second;
}

Tensor GgufFile::read(const std::string& name) const {
  const GgufTensor& tensor = at(name);
  const std::byte* from = data_ + tensor.begin;
  const auto element = static_cast<uintptr_t>(format_of(tensor.type).bytes);
  if (is_plain(tensor.type) && reinterpret_cast<uintptr_t>(from) % element == 0)
    return Tensor::borrow(from, tensor.shape, dtype_of(tensor.type), map_);
  const int64_t width = tensor.shape.rank() > 0 ? tensor.shape.back() : 1;
  const int64_t rows = width > 0 ? tensor.shape.count() / width : 0;
  const QuantizedMatrix matrix(
      {.type = tensor.type, .data = from, .rows = rows, .width = width, .count = width, .owner = map_});
  return matrix.numbers().view(tensor.shape, row_major_strides(tensor.shape), 0);
}

std::optional<QuantizedMatrix> GgufFile::quantized(const std::string& name) const {
  const GgufTensor& tensor = at(name);
  if (is_plain(tensor.type) || tensor.shape.rank() != 2) return std::nullopt;
  return QuantizedMatrix({.type = tensor.type,
                          .data = data_ + tensor.begin,
                          .rows = tensor.shape[0],
                          .width = tensor.shape[1],
                          .count = tensor.shape[1],
                          .owner = map_});
}

void GgufFile::release(const Tensor& tensor) const {
  if (tensor.defined()) map_->release(tensor.bytes(), tensor.count() * size_of(tensor.dtype()));
}

}  // namespace heddle
