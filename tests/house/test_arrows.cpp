// The house's arrows: a room includes only itself and the rooms to its left; device code stays behind the ops.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace heddle {
namespace {

namespace fs = std::filesystem;

// Which rooms a room may include besides itself.
const std::map<std::string, std::set<std::string>>& arrows() {
  static const std::map<std::string, std::set<std::string>> allowed = [] {
    const std::set<std::string> second{"kernels", "io", "samplers", "attention_control/plan"};
    const std::set<std::string> models{"kernels", "io", "attention_control/plan"};
    std::set<std::string> pipelines = second;
    pipelines.insert({"unet_dit", "encoders", "attention_control/plugins"});
    std::set<std::string> promises = pipelines;
    promises.insert({"pipelines", "judge"});
    std::set<std::string> doors = promises;
    doors.insert("promises");
    return std::map<std::string, std::set<std::string>>{
        {"kernels", {}},
        {"io", {"kernels"}},
        {"samplers", {"kernels"}},
        {"attention_control/plan", {"kernels"}},
        {"unet_dit", models},
        {"encoders", models},
        {"attention_control/plugins", {"kernels", "io", "attention_control/plan"}},
        {"pipelines", pipelines},
        {"judge", {"kernels", "io"}},
        {"promises", promises},
        {"cli", doors},
        {"capi", doors},
        {"bench", doors}};
  }();
  return allowed;
}

std::string room_of(const std::string& path) {
  std::string best;
  for (const auto& [room, _] : arrows()) {
    if (path.rfind(room + "/", 0) == 0 && room.size() > best.size()) best = room;
  }
  return best;
}

template <typename Visit>
void for_each_include(const Visit& visit) {
  const fs::path root = HEDDLE_SOURCE_DIR;
  const std::regex include(R"(^\s*#\s*include\s+"([^"]+)\")");
  for (const auto& [room, _] : arrows()) {
    if (!fs::exists(root / room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
      const std::string file = fs::relative(entry.path(), root).generic_string();
      if (room_of(file) != room) continue;
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);) {
        if (std::regex_search(line, match, include)) visit(file, match[1].str());
      }
    }
  }
}

TEST(House, ArrowsPointLeft) {
  int seen = 0;
  for_each_include([&](const std::string& file, const std::string& included) {
    const std::string from = room_of(file), to = room_of(included);
    if (to.empty()) return;
    ++seen;
    EXPECT_TRUE(from == to || arrows().at(from).count(to)) << file << " includes " << included;
  });
  EXPECT_GT(seen, 50);
}

TEST(House, DeviceCodeStaysInKernels) {
  for_each_include([](const std::string& file, const std::string& included) {
    const bool device = included.rfind("kernels/cpu/", 0) == 0 || included.rfind("kernels/cuda/", 0) == 0;
    if (!device) return;
    EXPECT_EQ(room_of(file), "kernels") << file << " includes " << included;
    const bool public_header =
        file.ends_with(".h") && file.rfind("kernels/cpu/", 0) != 0 && file.rfind("kernels/cuda/", 0) != 0;
    EXPECT_FALSE(public_header) << file << " includes " << included;
  });
}

TEST(House, OnlyAttendComputesAttention) {
  for_each_include([](const std::string& file, const std::string& included) {
    if (included != "kernels/ops/attention.h") return;
    EXPECT_TRUE(room_of(file) == "kernels" || room_of(file) == "bench" || file.rfind("attention_control/plan/", 0) == 0)
        << file;
  });
}

}  // namespace
}  // namespace heddle
