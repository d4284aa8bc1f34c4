// Where tensors live, and how many threads work on them.
#pragma once

#include <cstdint>
#include <string_view>

namespace heddle {

enum class Device : uint8_t { cpu, cuda };

std::string_view name_of(Device device);

// True where the engine was built with, and finds, such a device.
bool is_available(Device device);

// Threads of the one OpenMP pool. set_threads(0) returns to OMP_NUM_THREADS or the number of cores.
void set_threads(int count);
int threads();

}  // namespace heddle
