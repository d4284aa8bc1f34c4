// Safetensors: header checks, borrowed and converted reads.
#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int64_t longest_header = 100'000'000;  // the reference implementation's limit

struct FileType {
  const char* name;
  int64_t size;
};
constexpr FileType types[] = {{"F32", 4},  {"F16", 2},     {"BF16", 2},    {"F64", 8}, {"I64", 8},    {"I32", 4},
                              {"I16", 2},  {"I8", 1},      {"U8", 1},      {"U16", 2}, {"U32", 4},    {"U64", 8},
                              {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"C64", 8}, {"F8_E8M0", 1}};

struct Place {  // which tensor of which file is being checked
  const std::string& path;
  const std::string& name;
  [[noreturn]] void fail(const std::string& wanted, const std::string& got, const std::string& hint = {}) const {
    heddle::fail(ErrorCode::input, path + " " + name, wanted, got, hint);
  }
};

Shape read_shape(const Json& list, const Place& place) {
  if (list.size() > Shape::max_rank) place.fail("at most 8 axes", std::to_string(list.size()));
  Shape shape;
  for (const int64_t dim : list.as<std::vector<int64_t>>()) {
    if (dim < 0) place.fail("extents of zero or more", std::to_string(dim));
    shape.push_back(dim);
  }
  return shape;
}

// Bytes of a tensor; a product that does not fit in 63 bits is an error.
int64_t checked_bytes(const Shape& shape, int64_t element, const Place& place) {
  int64_t bytes = element;
  bool fits = true;
  for (const int64_t dim : shape) fits &= !__builtin_mul_overflow(bytes, dim, &bytes);
  // A zero extent beside huge ones is as suspect as their product.
  if (!fits) place.fail("a shape of less than 2^63 bytes", shape.text());
  return bytes;
}

TensorEntry read_entry(const Json& value, int64_t data_size, const Place& place) {
  value.require_known({"dtype", "shape", "data_offsets"});
  TensorEntry entry;
  entry.type = value.get<std::string>("dtype");
  const int64_t element = element_size(entry.type);
  if (element == 0) place.fail("a dtype of the safetensors format", "\"" + entry.type + "\"");
  entry.shape = read_shape(value.get<Json>("shape"), place);
  const auto offsets = value.get<std::vector<int64_t>>("data_offsets");
  if (offsets.size() != 2) place.fail("data_offsets [begin, end]", std::to_string(offsets.size()) + " numbers");
  entry.begin = offsets[0];
  entry.end = offsets[1];
  const std::string range = std::to_string(entry.begin) + " to " + std::to_string(entry.end);
  if (entry.begin < 0 || entry.end < entry.begin || entry.end > data_size) {
    place.fail("data_offsets inside " + std::to_string(data_size) + " bytes of data", range,
               "another copy of the file");
  }
  const int64_t bytes = checked_bytes(entry.shape, element, place);
  if (bytes != entry.end - entry.begin) {
    place.fail(std::to_string(bytes) + " bytes for " + entry.type + " " + entry.shape.text(), range);
  }
  return entry;
}

void check_end_to_end(const std::map<std::string, TensorEntry>& entries, int64_t data_size, const std::string& path) {
  std::vector<std::pair<const TensorEntry*, const std::string*>> order;
  for (const auto& [name, entry] : entries) order.emplace_back(&entry, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first->begin, a.first->end) < std::tie(b.first->begin, b.first->end);
  });
  int64_t reached = 0;
  for (const auto& [entry, name] : order) {
    if (entry->begin != reached) {
      const std::string fault = entry->begin < reached ? "an overlap with the tensor before it" : "a hole before it";
      Place{path, *name}.fail("data that begins at byte " + std::to_string(reached), fault);
    }
    reached = entry->end;
  }
  if (reached != data_size) {
    fail(ErrorCode::input, path, std::to_string(reached) + " bytes of data", std::to_string(data_size),
         "another copy of the file");
  }
}

template <typename From, typename To>
Tensor convert(const std::byte* data, const Shape& shape) {
  Tensor out = Tensor::empty(shape, DTypeOf<To>::value);
  To* to = out.fill_data<To>();
  for (int64_t i = 0; i < shape.count(); ++i) {
    From value;
    std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    to[i] = static_cast<To>(value);
  }
  return out;
}

// Floats of eight bits, a sign, `exponent` bits and a mantissa: all of them are bf16 numbers. E4M3 has no infinity, and
// of the largest exponent only all ones is no number.
template <int exponent>
BFloat16 eight_bit_float(uint8_t bits) {
  constexpr int mantissa = 7 - exponent, bias = (1 << (exponent - 1)) - 1, top = (1 << exponent) - 1;
  const int e = (bits >> mantissa) & top, m = bits & ((1 << mantissa) - 1);
  const bool special = e == top && (exponent == 5 || m == (1 << mantissa) - 1);
  const float size = special  ? (exponent == 5 && m == 0 ? INFINITY : NAN)
                     : e == 0 ? std::ldexp(static_cast<float>(m), 1 - bias - mantissa)
                              : std::ldexp(static_cast<float>(m + (1 << mantissa)), e - bias - mantissa);
  return BFloat16(bits & 0x80 ? -size : size);
}

template <int exponent>
Tensor widen(const std::byte* data, const Shape& shape) {
  std::array<BFloat16, 256> numbers;
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = eight_bit_float<exponent>(static_cast<uint8_t>(i));
  Tensor out = Tensor::empty(shape, DType::bf16);
  BFloat16* to = out.fill_data<BFloat16>();
  for (int64_t i = 0; i < shape.count(); ++i) to[i] = numbers[static_cast<uint8_t>(data[i])];
  return out;
}

Tensor borrow_or_copy(const std::byte* data, const TensorEntry& entry, DType dtype, std::shared_ptr<const void> owner) {
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size_of(dtype)) == 0) {
    return Tensor::borrow(data, entry.shape, dtype, std::move(owner));
  }
  Tensor out = Tensor::empty(entry.shape, dtype);  // files of other writers may begin anywhere
  std::memcpy(out.fill_bytes(), data, static_cast<size_t>(entry.end - entry.begin));
  return out;
}

}  // namespace

int64_t element_size(const std::string& type) {
  for (const FileType& known : types) {
    if (type == known.name) return known.size;
  }
  return 0;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : map_(MappedFile::open(path)) {
  const int64_t data_size = read_header();
  check_end_to_end(entries_, data_size, path);
}

int64_t SafetensorsFile::read_header() {
  const auto file = map_->bytes();
  const auto size = static_cast<int64_t>(file.size());
  if (size < 10) fail(ErrorCode::input, path(), "a safetensors file", std::to_string(size) + " bytes");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > longest_header || static_cast<int64_t>(length) > size - 8) {
    fail(ErrorCode::input, path(),
         "a header of at most " + std::to_string(std::min(longest_header, size - 8)) + " bytes", std::to_string(length),
         "a safetensors file, whole");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (!text.starts_with('{')) fail(ErrorCode::input, path(), "a header that begins with {", "something else");
  const Json header = Json::parse(text, path());
  const int64_t data_size = size - 8 - static_cast<int64_t>(length);
  data_ = file.data() + 8 + length;
  for (const std::string& name : header.keys()) {
    if (!header.has(name)) fail(ErrorCode::input, path() + " " + name, "an object", "null");
    const Json value = header.get<Json>(name);
    if (name == "__metadata__") {
      for (const std::string& key : value.keys()) metadata_[key] = value.get<std::string>(key);
    } else if (name.empty()) {
      fail(ErrorCode::input, path(), "tensors with names", "an empty name");
    } else {
      entries_.emplace(name, read_entry(value, data_size, {path(), name}));
    }
  }
  return data_size;
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(ErrorCode::input, path(), "the tensor \"" + name + "\"", "none of that name");
  const TensorEntry& entry = found->second;
  const std::byte* data = data_ + entry.begin;
  const std::string& type = entry.type;
  if (type == "F32") return borrow_or_copy(data, entry, DType::f32, map_);
  if (type == "F16") return borrow_or_copy(data, entry, DType::f16, map_);
  if (type == "BF16") return borrow_or_copy(data, entry, DType::bf16, map_);
  if (type == "I64") return borrow_or_copy(data, entry, DType::i64, map_);
  if (type == "F64") return convert<double, float>(data, entry.shape);
  if (type == "I32") return convert<int32_t, int64_t>(data, entry.shape);
  if (type == "I16") return convert<int16_t, int64_t>(data, entry.shape);
  if (type == "I8") return convert<int8_t, int64_t>(data, entry.shape);
  if (type == "U8" || type == "BOOL") return convert<uint8_t, int64_t>(data, entry.shape);
  if (type == "U16") return convert<uint16_t, int64_t>(data, entry.shape);
  if (type == "U32") return convert<uint32_t, int64_t>(data, entry.shape);
  if (type == "F8_E4M3") return widen<4>(data, entry.shape);
  if (type == "F8_E5M2") return widen<5>(data, entry.shape);
  fail(ErrorCode::input, path() + " " + name,
       "F32, F16, BF16, F64, F8_E4M3, F8_E5M2, BOOL or whole numbers of up to 64 bits, signed", type,
       "a checkpoint stored in one of these");
}

void SafetensorsFile::release(const Tensor& tensor) const {
  if (tensor.defined()) map_->release(tensor.bytes(), tensor.count() * size_of(tensor.dtype()));
}

TensorMap read_safetensors(const std::string& path) {
  const SafetensorsFile file(path);
  TensorMap out;
  for (const auto& [name, entry] : file.entries()) out.emplace(name, file.read(name));
  return out;
}

}  // namespace heddle
