// scheduler_config.json from any text, and a short schedule of what it says.
#include <nlohmann/json.hpp>

#include "samplers/schedule.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  return testing::accept([&] { make_schedule(parse_scheduler_config(testing::text_of(data, size), "fuzz"), 4); });
}
