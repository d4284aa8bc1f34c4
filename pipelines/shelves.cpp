// Searches the shelves.
#include "pipelines/shelves.h"

#include <cstdlib>
#include <set>

#include "io/preset_file.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& folder, const std::string& mark) {
  std::error_code ignored;
  return fs::exists(folder / mark, ignored);
}

std::string shipped_names(const std::string& mark) {
  std::set<std::string> names;
  for (const fs::path& shelf : model_shelves()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(shelf, ignored)) {
      if (holds(entry.path(), mark)) names.insert(entry.path().filename().string());
    }
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "a path to a folder" : text + " or a path to a folder";
}

}  // namespace

std::vector<fs::path> model_shelves() {
  std::vector<fs::path> shelves;
  if (const char* own = std::getenv("HEDDLE_MODELS")) shelves.emplace_back(own);
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!ignored) shelves.push_back(program.parent_path().parent_path() / "share" / "heddle" / "models");
  shelves.emplace_back(HEDDLE_MODELS_DIR);
  return shelves;
}

std::string find_folder(const std::string& name, const std::string& beside, const Wanted& wanted) {
  const std::string path = find_beside(name, beside);
  if (holds(path, wanted.mark)) return path;
  if (name.find('/') == name.npos) {
    for (const fs::path& shelf : model_shelves()) {
      if (holds(shelf / name, wanted.mark)) return (shelf / name).string();
    }
  }
  std::error_code ignored;
  fail(fs::exists(path, ignored) ? ErrorCode::input : ErrorCode::usage, wanted.where, wanted.what, name,
       shipped_names(wanted.mark));
}

std::string find_data(const std::string& folder, const std::string& name) {
  for (const fs::path& shelf : model_shelves()) {
    const fs::path file = shelf.parent_path() / folder / (name + ".yaml");
    std::error_code ignored;
    if (fs::exists(file, ignored)) return file.string();
  }
  return "";
}

std::vector<std::string> data_names(const std::string& folder) {
  std::set<std::string> names;
  for (const fs::path& shelf : model_shelves()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(shelf.parent_path() / folder, ignored)) {
      if (entry.path().extension() == ".yaml") names.insert(entry.path().stem().string());
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace heddle
