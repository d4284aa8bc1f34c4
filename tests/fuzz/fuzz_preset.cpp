// Presets from any text.
#include <string_view>

#include "io/preset_file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return heddle::testing::accept([&] {
    const heddle::Preset preset = heddle::preset_from_yaml(heddle::parse_yaml(text, "fuzz"), {{"method"}});
    heddle::preset_from_json(heddle::preset_to_json(preset), "fuzz", {{"method"}});
  });
}
