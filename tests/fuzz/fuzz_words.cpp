// Files of words learned by textual inversion, from any bytes.
#include "io/file.h"
#include "io/learned_vectors.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  const std::string path = testing::scratch_folder() + "/input.safetensors";
  write_file(path, testing::text_of(data, size));
  return testing::accept([&] { read_learned_word(path, ""); });
}
