// tokenizer.json from any bytes, then a text through what it made.
#include <filesystem>
#include <string_view>

#include "encoders/clip_tokenizer.h"
#include "io/file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string folder = heddle::testing::scratch_file("");
  std::filesystem::create_directories(folder);
  heddle::write_file(folder + "/tokenizer.json", {reinterpret_cast<const char*>(data), size});
  return heddle::testing::accept([&] { heddle::ClipTokenizer::load(folder).encode_padded("a cat's 2 balloons"); });
}
