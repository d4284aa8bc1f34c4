// The walk over a GGUF header.
#include "io/gguf_cursor.h"

#include <algorithm>
#include <array>

#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr uint32_t list_type = 9;
constexpr int deepest_list = 4;
// Bytes of the types by number; 0 for texts and lists.
constexpr std::array<uint64_t, 13> sizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

}  // namespace

const std::byte* GgufCursor::take(uint64_t bytes) {
  if (bytes > file_.size() - at_) {
    fail(ErrorCode::input, path_, std::to_string(bytes) + " bytes of header from byte " + std::to_string(at_),
         std::to_string(file_.size() - at_) + " to the end of the file", "another copy of the file");
  }
  const std::byte* from = file_.data() + at_;
  at_ += bytes;
  return from;
}

void GgufCursor::read_magic() {
  const std::string_view magic(reinterpret_cast<const char*>(file_.data()), std::min<size_t>(4, file_.size()));
  if (magic != "GGUF") fail(ErrorCode::input, path_, "a GGUF file", "other first bytes");
  take(4);
  const auto version = number<uint32_t>();
  if (version != 2 && version != 3)
    fail(ErrorCode::input, path_, "version 2 or 3 of GGUF, little-endian", std::to_string(version));
}

std::string GgufCursor::text(int64_t longest) {
  const auto length = number<uint64_t>();
  if (length > static_cast<uint64_t>(longest)) {
    fail(ErrorCode::input, path_, "a text of at most " + std::to_string(longest) + " bytes", std::to_string(length),
         "another copy of the file");
  }
  return {reinterpret_cast<const char*>(take(length)), length};
}

void GgufCursor::skip_value(uint32_t type) {
  if (type == list_type) return skip_list(1);
  if (type >= sizes.size()) fail(ErrorCode::input, path_, "values of the types of GGUF", std::to_string(type));
  take(type == text_type ? number<uint64_t>() : sizes[type]);
}

void GgufCursor::skip_list(int depth) {
  const auto type = number<uint32_t>();
  const auto count = number<uint64_t>();
  if (depth > deepest_list) fail(ErrorCode::input, path_, "lists in lists of at most 4 levels", "more");
  if (type >= sizes.size()) fail(ErrorCode::input, path_, "values of the types of GGUF", std::to_string(type));
  if (sizes[type] > 0) {
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(count, sizes[type], &bytes)) bytes = UINT64_MAX;
    take(bytes);
    return;
  }
  // Each of these has at least its length, so a count beyond the file's end is found on the way there.
  for (uint64_t i = 0; i < count; ++i) {
    if (type == list_type)
      skip_list(depth + 1);
    else
      take(number<uint64_t>());
  }
}

}  // namespace heddle
