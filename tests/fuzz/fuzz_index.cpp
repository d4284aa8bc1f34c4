// The index of a sharded checkpoint from any text, beside one sound shard.
#include "io/weights.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  const std::string& folder = testing::scratch_folder();
  static const bool sound_shard = [&] {
    write_safetensors(folder + "/a.safetensors", {{"w", Tensor::zeros({2})}});
    return true;
  }();
  const std::string path = folder + "/model.safetensors.index.json";
  write_file(path, testing::text_of(data, size));
  return testing::accept([&] {
    if (sound_shard) SafetensorsSet{path};
  });
}
