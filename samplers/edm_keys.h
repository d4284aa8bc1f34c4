// The keys of EDM's schedulers.
#pragma once

#include "samplers/scheduler_keys.h"

namespace heddle {

// Whether the file is of EDM's classes. Error(usage) for a solver that has no EDM form.
bool is_edm(const SchedulerKeys& keys, Solver solver);

// Prediction, sigmas and end. What else the solver has is read as of its other class.
void read_edm(const SchedulerKeys& keys, SchedulerConfig& config);

}  // namespace heddle
