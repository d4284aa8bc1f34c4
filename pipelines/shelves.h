// Where things that ship lie: models by name, and the data beside them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace heddle {

// Folders that hold shipped models, in the order in which they are searched: $HEDDLE_MODELS, then where the program was
// installed, then where it was built.
std::vector<std::filesystem::path> model_shelves();

// The folder that `name` means: a path (also beside the file `beside`), or the name of one that ships. A folder counts
// where it holds the file `mark`. Error(usage), or Error(input) where the path exists, naming what ships.
struct Wanted {
  std::string where, what, mark;  // for errors: "model", "a diffusers folder with model_index.json"
};
std::string find_folder(const std::string& name, const std::string& beside, const Wanted& wanted);

// `name`.yaml in `folder` ("presets/promises") beside any shelf, or empty; and the names of all that are there, sorted.
std::string find_data(const std::string& folder, const std::string& name);
std::vector<std::string> data_names(const std::string& folder);

}  // namespace heddle
