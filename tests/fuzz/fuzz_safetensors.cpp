// Safetensors from any bytes.
#include <string_view>

#include "io/safetensors.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string path = heddle::testing::scratch_file(".safetensors");
  heddle::write_file(path, {reinterpret_cast<const char*>(data), size});
  return heddle::testing::accept([&] { heddle::read_safetensors(path); });
}
