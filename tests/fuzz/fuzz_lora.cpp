// LoRA files from any bytes, laid over a small network's names.
#include "io/lora.h"
#include "io/weights.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  const std::string path = testing::scratch_folder() + "/input.safetensors";
  write_file(path, testing::text_of(data, size));
  return testing::accept([&] {
    const LoraFile file(path);
    Weights weights(HEDDLE_FIXTURES "/unet_dit/sd1");
    LoraWeights laid(weights, weights.names(), LoraPart::denoiser, {{&file, 1}});
    for (const std::string& name : weights.names()) laid.take_any(name);
  });
}
