// Reads a GGUF header from front to back without leaving the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace heddle {

class GgufCursor {
 public:
  // Types of values, of which heddle reads two.
  static constexpr uint32_t u32_type = 4, text_type = 8;

  GgufCursor(std::span<const std::byte> file, const std::string& path) : file_(file), path_(path) {}

  const std::string& path() const { return path_; }
  int64_t position() const { return static_cast<int64_t>(at_); }

  // "GGUF" and version 2 or 3. Error(input), also for what the other methods find beyond the end.
  void read_magic();
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  // A text of at most `longest` bytes.
  std::string text(int64_t longest);
  // A value of any type that the format has, lists in lists included.
  void skip_value(uint32_t type);

 private:
  const std::byte* take(uint64_t bytes);
  void skip_list(int depth);

  std::span<const std::byte> file_;
  const std::string& path_;
  size_t at_ = 0;
};

}  // namespace heddle
