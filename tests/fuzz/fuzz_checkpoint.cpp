// What a file of tensors is taken for, from any names and shapes: lines of "name extent extent ...".
#include <memory>
#include <sstream>

#include "io/checkpoint/checkpoint_file.h"
#include "tests/fuzz/accept.h"
#include "tests/support/shapes_only.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  std::map<std::string, Shape> shapes;
  std::istringstream lines{std::string(testing::text_of(data, size))};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    Shape shape;
    for (int64_t extent; shape.rank() < Shape::max_rank && words >> extent;) shape.push_back(extent < 0 ? 0 : extent);
    shapes[name] = shape;
  }
  const auto file = std::make_shared<testing::ShapesOnly>(std::move(shapes));
  return testing::accept([&] {
    const CheckpointFile checkpoint(file);
    for (const std::string& component : checkpoint.components()) checkpoint.open(component);
  });
}
