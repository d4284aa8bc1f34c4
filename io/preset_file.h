// Presets read from YAML or from the JSON that an output carries, checked as a whole, and written back.
#pragma once

#include "io/preset.h"

namespace heddle {

struct PresetChoices {
  std::vector<std::string> methods;  // names that `attention:` may use
};

// Error(usage) for contents at fault, Error(input) for a file that cannot be read. `overrides`: key=value of `--set`.
Preset read_preset(const std::string& path, const std::vector<std::string>& overrides, const PresetChoices& choices);
Preset preset_from_yaml(const YamlNode& root, const PresetChoices& choices);

// One line; what was not given stays out. preset_from_json(preset_to_json(p)) is p.
std::string preset_to_json(const Preset& preset);
Preset preset_from_json(std::string_view text, const std::string& where, const PresetChoices& choices);

// The text AUTOMATIC1111's web UI and its kin read: prompt, negative prompt, one line of settings. `image` counts over
// prompts, then pictures of a prompt.
std::string a1111_parameters(const Preset& preset, int image);

// As given where it exists from here, else beside the preset where it exists there, else as given.
std::string find_beside(const std::string& path, const std::string& preset_path);

// The file in a value's `where` (YamlNode): what stands before the first ":LINE".
std::string file_of(std::string_view where);

}  // namespace heddle
