// Files: read-only memory maps, bounded whole reads, and writes that appear whole or not at all.
// A failure is an Error that names the path: input where a file cannot be read, usage where none can be written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace heddle {

// A regular file mapped read-only for as long as somebody holds the pointer. The file must not be shortened meanwhile.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  bool contains(const void* address) const;

  // The pages that hold these bytes may leave memory; reading them again brings them back from the file.
  void release(const void* begin, int64_t bytes) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// The whole of a regular file of at most `limit` bytes.
std::string read_file(const std::string& path, int64_t limit);

// Writes beside the target under a temporary name; commit() makes it durable and renames it over the target. Without a
// commit nothing remains.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail_write(const std::string& what) const;

  std::string path_, temporary_;
  int descriptor_ = -1;
};

void write_file(const std::string& path, std::string_view contents);

}  // namespace heddle
