// JSON Schema of presets, for editors that complete and check YAML; made from the declarations that read them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/param.h"

namespace heddle {

// `methods`: what may stand under `attention:`, with each one's parameters. Draft 2020-12, indented.
std::string preset_schema(const std::vector<std::pair<std::string, std::vector<ParamInfo>>>& methods);

}  // namespace heddle
