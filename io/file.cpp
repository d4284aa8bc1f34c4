// Files by POSIX calls.
#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::string reason() {
  return std::strerror(errno);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

// Opens without blocking, so that a pipe given by mistake cannot hang the caller, and returns the size.
int64_t open_regular(const std::string& path, int descriptor) {
  if (path.find('\0') != std::string::npos) fail(ErrorCode::input, path, "a path", "one that holds a zero byte");
  if (descriptor < 0) fail(ErrorCode::input, path, "a readable file", reason());
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) fail(ErrorCode::input, path, "a readable file", reason());
  if (S_ISDIR(info.st_mode)) fail(ErrorCode::input, path, "a file", "a folder");
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::input, path, "a regular file", "a device, pipe or socket");
  return info.st_size;
}

int open_for_reading(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file(open_for_reading(path));
  const auto size = static_cast<size_t>(open_regular(path, file.get()));
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(path, nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) fail(ErrorCode::input, path, "a file that can be mapped", reason());
  return std::shared_ptr<const MappedFile>(new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

bool MappedFile::contains(const void* address) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto begin = reinterpret_cast<uintptr_t>(data_);
  return at >= begin && at < begin + size_;
}

void MappedFile::release(const void* begin, int64_t bytes) const {
  if (bytes <= 0 || !contains(begin)) return;
  // Outwards to whole pages: the map is clean, so a neighbour's share of a page merely has to be read again.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data_) + size_;
  const uintptr_t last = std::min(reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(bytes), end);
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

std::string read_file(const std::string& path, int64_t limit) {
  const Descriptor file(open_for_reading(path));
  const int64_t size = open_regular(path, file.get());
  if (size > limit) {
    fail(ErrorCode::input, path, "at most " + std::to_string(limit) + " bytes", std::to_string(size) + " bytes");
  }
  std::string contents(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < contents.size()) {
    const ssize_t got = ::read(file.get(), contents.data() + done, contents.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::input, path, "a readable file", reason());
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  contents.resize(done);
  return contents;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  static std::atomic<int> counter{0};
  temporary_ = path + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(ErrorCode::usage, path_, "a place that can be written", reason());
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_write(const std::string& what) const {
  fail(ErrorCode::usage, path_, "to " + what, reason(), "another folder or more free space");
}

void AtomicFile::write(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor_, next, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_write("write " + std::to_string(bytes) + " bytes");
    next += put;
    bytes -= static_cast<size_t>(put);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_write("flush the file");
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0) fail_write("close the file");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write("put the file in its place");
  temporary_.clear();
}

void write_file(const std::string& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

}  // namespace heddle
