// Presets from any text.
#include "io/preset_file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  return testing::accept([&] {
    const Preset preset = preset_from_yaml(parse_yaml(testing::text_of(data, size), "fuzz"), {{"method"}});
    preset_from_json(preset_to_json(preset), "fuzz", {{"method"}});
  });
}
