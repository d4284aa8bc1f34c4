// GGUF from any bytes.
#include "io/file.h"
#include "io/gguf.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  const std::string path = testing::scratch_folder() + "/input.gguf";
  write_file(path, testing::text_of(data, size));
  return testing::accept([&] {
    const GgufFile file(path);
    for (const auto& [name, shape] : file.shapes()) file.read(name);
  });
}
