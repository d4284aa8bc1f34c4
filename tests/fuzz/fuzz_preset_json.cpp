// The JSON block of a picture from any text; what it amounts to goes into a picture as we write them and comes back.
#include "io/png.h"
#include "io/preset_file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  return testing::accept([&] {
    const Preset preset = preset_from_json(testing::text_of(data, size), "fuzz", {{"method"}});
    const PngText texts{{"parameters", a1111_parameters(preset, 0)}, {"heddle", preset_to_json(preset)}};
    const std::string path = testing::scratch_folder() + "/input.png";
    write_png(path, Image{.width = 1, .height = 1, .pixels = {0, 0, 0}}, texts);
    if (read_png_text(path) != texts) std::abort();
  });
}
