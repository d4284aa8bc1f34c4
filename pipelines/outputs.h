// What a run leaves behind: pictures with their metadata, latents, the picture as a tensor.
#pragma once

#include <string>
#include <vector>

#include "pipelines/generate.h"

namespace heddle {

// NAME.png, or NAME-0.png, NAME-1.png ... for several; a cancelled run's pictures are NAME-cancelled.png. Where a
// method edits a source, the edited picture is NAME.png, beside it NAME-source.png, NAME-target2.png. Each file appears
// whole or not at all. Returns the paths written, pictures first.
std::vector<std::string> write_outputs(const RunResult& result);

}  // namespace heddle
