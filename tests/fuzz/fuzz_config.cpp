// config.json from any text, read as that of each denoiser, an autoencoder and of text encoders.
#include "encoders/text_clip.h"
#include "encoders/text_t5.h"
#include "encoders/vae_kl.h"
#include "tests/fuzz/accept.h"
#include "unet_dit/flux_config.h"
#include "unet_dit/sd3_config.h"
#include "unet_dit/unet_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  return testing::accept([&] {
    const Json json = Json::parse(testing::text_of(data, size), "fuzz");
    testing::accept([&] { UNetConfig::from(json); });
    testing::accept([&] { SD3Config::from(json); });
    testing::accept([&] { FluxConfig::from(json); });
    testing::accept([&] { VaeConfig::from(json); });
    testing::accept([&] { ClipTextConfig::from(json); });
    testing::accept([&] { T5TextConfig::from(json); });
  });
}
