// Maps, bounded reads and writes that appear whole or not at all.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "io/file.h"
#include "tests/io/temporary.h"

namespace heddle::testing {
namespace {

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

size_t files_in(const TemporaryFolder& folder) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.root())) count += entry.exists();
  return count;
}

TEST(File, MapsAFileAndLetsItsPagesGo) {
  const TemporaryFolder folder;
  const int64_t size = 32 << 20;
  const std::string path = folder.write("big", std::string(size, 'x'));
  const auto map = MappedFile::open(path);
  ASSERT_EQ(map->bytes().size(), size_t(size));
  int64_t sum = 0;
  const int64_t before = resident_bytes();
  for (int64_t i = 0; i < size; i += 4096) sum += static_cast<int64_t>(map->bytes()[i]);
  const int64_t touched = resident_bytes();
  map->release(map->bytes().data() + 100, size - 200);
  const int64_t after = resident_bytes();
  EXPECT_EQ(sum, size / 4096 * 'x');
  EXPECT_GT(touched - before, size / 2);
  EXPECT_GT(touched - after, size / 2);
  EXPECT_EQ(static_cast<char>(map->bytes()[size / 2]), 'x') << "released pages are read again";
}

TEST(File, AnEmptyFileIsAnEmptyMap) {
  const TemporaryFolder folder;
  const auto map = MappedFile::open(folder.write("empty", ""));
  EXPECT_TRUE(map->bytes().empty());
  EXPECT_FALSE(map->contains(map.get()));
}

TEST(File, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo(folder.path("pipe").c_str(), 0600), 0);
  for (const std::string& path : {folder.path("none"), folder.root(), folder.path("pipe"), std::string("/dev/zero")}) {
    EXPECT_NE(error_of(ErrorCode::input, [&] { MappedFile::open(path); }).find(path), std::string::npos);
    EXPECT_NE(error_of(ErrorCode::input, [&] { read_file(path, 100); }).find(path), std::string::npos);
  }
}

TEST(File, ReadsWithALimit) {
  const TemporaryFolder folder;
  const std::string path = folder.write("ten", "0123456789");
  EXPECT_EQ(read_file(path, 10), "0123456789");
  EXPECT_NE(error_of(ErrorCode::input, [&] { read_file(path, 9); }).find("at most 9 bytes"), std::string::npos);
}

TEST(File, WritesWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const std::string path = folder.write("out", "old");
  {
    AtomicFile file(path);
    file.write("half of the new");
  }
  EXPECT_EQ(read_file(path, 100), "old");
  EXPECT_EQ(files_in(folder), 1u) << "nothing is left of a write that was given up";
  write_file(path, "new");
  EXPECT_EQ(read_file(path, 100), "new");
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(File, NamesThePlaceThatCannotBeWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.path("no/such/folder/out.png");
  EXPECT_NE(error_of(ErrorCode::usage, [&] { write_file(path, "x"); }).find(path), std::string::npos);
}

}  // namespace
}  // namespace heddle::testing
