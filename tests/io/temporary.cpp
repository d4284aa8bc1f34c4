// Folders of tests, and what every error must look like.
#include "tests/io/temporary.h"

#include <cstdlib>

namespace heddle::testing {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "heddle-io-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  root_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& contents) const {
  const std::filesystem::path file = root_ / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << contents;
  return file.string();
}

std::string complaint_about(const Error& e, ErrorCode code) {
  const std::string text = e.what();
  if (e.code() != code) return "code " + std::to_string(static_cast<int>(e.code()));
  if (text.find_first_of("\n\r") != text.npos) return "more than one line";
  if (!text.starts_with('[') || text.find("] wanted ") == text.npos || text.find("; got ") == text.npos) return "form";
  return {};
}

}  // namespace heddle::testing
