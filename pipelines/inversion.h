// The picture of an edit as noise: which settings go together, and its states in a file.
#pragma once

#include <string>
#include <vector>

#include "io/preset.h"
#include "samplers/schedule.h"

namespace heddle {

// Of a filled preset of task edit (pipelines/defaults.h). Error(usage) for a method that the schedule cannot have, and
// for keys of another method than the one chosen.
void check_inversion(const Preset& preset, const Schedule& schedule);

// The evaluations by which a source is inverted: the run's own, or those of its solver with rising sigmas.
Schedule source_schedule(InversionMethod method, const Schedule& schedule);

// As `inversion.save` keeps them: `latents` (the noise, of FLUX packed, as `noise:` takes it) and `trajectory`
// [steps+1,C,h,w], the noise first.
void save_inversion(const std::string& path, const std::vector<Tensor>& states, bool packed);
// Error(input) where the file does not hold a trajectory of `steps` steps and this shape.
std::vector<Tensor> load_inversion(const std::string& path, int64_t steps, const Shape& shape);

}  // namespace heddle
