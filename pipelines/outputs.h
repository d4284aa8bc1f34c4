// What a run leaves behind: pictures with their metadata, latents, the picture as a tensor.
#pragma once

#include <string>
#include <vector>

#include "pipelines/generate.h"

namespace heddle {

// NAME.png, or NAME-0.png, NAME-1.png ... for several; a cancelled run's pictures are NAME-cancelled.png. Each file
// appears whole or not at all. Returns the paths written, pictures first.
std::vector<std::string> write_outputs(const RunResult& result);

}  // namespace heddle
