// The keys of rectified-flow schedulers.
#pragma once

#include "samplers/scheduler_keys.h"

namespace heddle {

// Whether the solver is to integrate a flow: the file's class says so, or use_flow_sigmas. `by_name`: the solver was
// not chosen by the file. Error(usage) for a solver that cannot follow.
bool is_flow(const SchedulerKeys& keys, Solver solver, bool by_name);

// Prediction, shift, spacing, end and noise of a flow's schedule.
void read_flow(const SchedulerKeys& keys, SchedulerConfig& config);

}  // namespace heddle
