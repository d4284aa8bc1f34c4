// A folder for one test's files, removed afterwards.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "kernels/core/error.h"

namespace heddle::testing {

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name) const { return (root_ / name).string(); }
  std::string write(const std::string& name, const std::string& contents) const;  // returns the path
  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

// Runs `action`, which must throw an Error of `code` with one line in the house's form; returns its text.
template <typename F>
std::string error_of(ErrorCode code, F action);

// Empty where `e` is as it must be, else what is wrong with it.
std::string complaint_about(const Error& e, ErrorCode code);

template <typename F>
std::string error_of(ErrorCode code, F action) {
  try {
    action();
  } catch (const Error& e) {
    const std::string complaint = complaint_about(e, code);
    return complaint.empty() ? e.what() : "BAD ERROR: " + complaint + ": " + e.what();
  }
  return "NO ERROR";
}

}  // namespace heddle::testing
