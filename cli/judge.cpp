// heddle judge: what the shipped detector sees in pictures.
#include "judge/judge.h"

#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "pipelines/shelves.h"

namespace heddle::cli {
namespace {

nlohmann::ordered_json json_of(const std::string& path, const SeenPicture& verdict) {
  nlohmann::ordered_json objects = nlohmann::ordered_json::array();
  for (const SeenObject& o : verdict.objects)
    objects.push_back({{"subject", o.subject}, {"colour", o.colour}, {"confidence", o.confidence}, {"box", o.box}});
  return {{"picture", path},
          {"background", verdict.background},
          {"background_confidence", verdict.background_confidence},
          {"objects", objects}};
}

void print(const std::string& path, const SeenPicture& verdict) {
  std::cout << path << ": background " << verdict.background << " (" << std::fixed << std::setprecision(2)
            << verdict.background_confidence << ")\n";
  for (const SeenObject& o : verdict.objects) {
    std::cout << "  " << (o.colour == "own" ? "" : o.colour + " ") << o.subject << ", confidence "
              << std::setprecision(2) << o.confidence << ", box" << std::setprecision(0);
    for (const double edge : o.box) std::cout << " " << edge;
    std::cout << "\n";
  }
}

}  // namespace

void add_judge(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> pictures;
    std::string judge = "emoji-judge";
    bool json = false;
    int threads = 0;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("judge", "Say what is in pictures of a small world: subjects, colours, boxes");
  command->add_option("pictures", a->pictures, "PNG, JPEG or WebP files")->required();
  command->add_option("--judge", a->judge, "The detector's folder, or the name of one that ships")
      ->capture_default_str();
  command->add_flag("--json", a->json, "One JSON object a line");
  add_threads(*command, a->threads);
  command->footer(
      "example:\n  heddle judge hello.png\n"
      "Boxes are x0 y0 x1 y1 in pixels. \"unknown\" is what is malformed, fused, or not of the judge's world; the "
      "colour "
      "\"own\" is an\nanimal's natural one.");
  command->callback([a] {
    set_threads(a->threads);
    const Judge judge(find_folder(
        a->judge, "",
        {.where = "judge", .what = "a folder with config.json and model.safetensors", .mark = "model.safetensors"}));
    for (const std::string& path : a->pictures) {
      const SeenPicture verdict = judge(read_image(path));
      if (a->json) {
        std::cout << json_of(path, verdict).dump() << "\n";
      } else {
        print(path, verdict);
      }
    }
  });
}

}  // namespace heddle::cli
