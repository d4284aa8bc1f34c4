// The device seam: the only place that knows which back ends were linked.
#include "kernels/core/device.h"

#include <omp.h>

#include "kernels/core/dtype.h"

namespace heddle {

std::string_view name_of(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

std::string_view name_of(DType dtype) {
  constexpr std::string_view names[] = {"f32", "bf16", "f16", "i64"};
  return names[static_cast<int>(dtype)];
}

bool is_available(Device device) {
  return device == Device::cpu;
}

void set_threads(int count) {
  static const int by_default = omp_get_max_threads();
  omp_set_num_threads(count > 0 ? count : by_default);
}

int threads() {
  return omp_get_max_threads();
}

}  // namespace heddle
