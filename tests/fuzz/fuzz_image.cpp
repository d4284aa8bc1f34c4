// Pictures from any bytes.
#include "io/image.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return heddle::testing::accept([&] { heddle::decode_image(std::as_bytes(std::span(data, size)), "fuzz"); });
}
