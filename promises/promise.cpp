// Runs the pairs of a promise and measures them.
#include "promises/promise.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "attention_control/plugins/registry.h"
#include "io/image_tensor.h"
#include "io/png.h"
#include "io/preset_file.h"
#include "kernels/core/device.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"
#include "pipelines/generate.h"
#include "pipelines/shelves.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

// `over` laid over `base`: maps key by key, anything else as a whole.
YamlNode laid_over(const YamlNode& base, const YamlNode& over) {
  if (base.kind != YamlNode::Kind::map || over.kind != YamlNode::Kind::map) return over;
  YamlNode out = base;
  for (const YamlEntry& entry : over.entries) {
    const auto same = std::ranges::find(out.entries, entry.key, &YamlEntry::key);
    if (same == out.entries.end()) {
      out.entries.push_back(entry);
    } else {
      same->value = laid_over(same->value, entry.value);
    }
  }
  return out;
}

// As a user would select what is to be edited. White everywhere where the judge sees nothing.
Image selection(const JudgedPicture& seen) {
  const int width = seen.image.width, height = seen.image.height;
  Image out{.width = width, .height = height, .channels = 1};
  const uint8_t elsewhere = seen.verdict.objects.empty() ? 255 : 0;
  out.pixels.resize(static_cast<size_t>(width) * static_cast<size_t>(height), elsewhere);
  constexpr double margin = 8;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool inside = std::ranges::any_of(seen.verdict.objects, [&](const SeenObject& object) {
        const auto& [x0, y0, x1, y1] = object.box;
        return x >= x0 - margin && x < x1 + margin && y >= y0 - margin && y < y1 + margin;
      });
      if (inside) out.pixels[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)] = 255;
    }
  }
  return out;
}

// A picture and its mask on disk for as long as a promise is measured: runs read sources from files.
class HeldSource {
 public:
  HeldSource() : files_{.picture = temporary("source"), .mask = temporary("mask")} {}
  HeldSource(const HeldSource&) = delete;
  HeldSource& operator=(const HeldSource&) = delete;
  ~HeldSource() {
    std::error_code ignored;
    for (const std::string& path : {files_.picture, files_.mask}) fs::remove(path, ignored);
  }
  const SourceFiles& files() const { return files_; }
  void hold(const JudgedPicture& seen) const {
    write_png(files_.picture, seen.image, {});
    write_png(files_.mask, selection(seen), {});
  }

 private:
  static std::string temporary(const std::string& what) {
    return (fs::temp_directory_path() / ("heddle-" + what + "-" + std::to_string(getpid()) + ".png")).string();
  }
  SourceFiles files_;
};

class PairedRuns {
 public:
  PairedRuns(const PromiseSpec& spec, const std::string& path, const PromiseEvents& events)
      : spec_(spec),
        path_(path),
        events_(events),
        world_(World::read((fs::path(path).parent_path() / (spec.world + ".yaml")).string())),
        judge_(find_folder(spec.judge, path,
                           {.where = "judge",
                            .what = "a folder with config.json and model.safetensors",
                            .mark = "model.safetensors"})) {
    for (const std::string& name : spec.metrics) metrics_.push_back(&metric_named(name, path));
  }

  GroupResult measure(const CaseGroup& group, int& done, int total);
  PromiseResult header(int threads);

 private:
  Preset preset_of(const Case& wanted, const std::optional<YamlNode>& over) const;
  Model& model_of(const Preset& preset);
  Outcome run(const Preset& preset, double& judge_seconds);
  Pair pair_of(const CaseGroup& group, int index, double& judge_seconds);

  const PromiseSpec& spec_;
  const std::string& path_;
  const PromiseEvents& events_;
  World world_;
  Judge judge_;
  std::map<std::string, std::unique_ptr<Model>> models_;  // by model_key
  std::vector<const Metric*> metrics_;
  HeldSource source_;
};

Preset PairedRuns::preset_of(const Case& wanted, const std::optional<YamlNode>& over) const {
  const YamlNode tree = case_preset(spec_, over, wanted, spec_.source ? std::optional(source_.files()) : std::nullopt);
  return preset_from_yaml(tree, {.methods = method_names()});
}

// What of a preset decides on its model, as text.
std::string model_key(const Preset& preset) {
  Preset of;
  of.model = preset.model, of.config = preset.config, of.lora = preset.lora, of.embeddings = preset.embeddings,
  of.dtype = preset.dtype, of.vae = preset.vae;
  of.unet = preset.unet, of.transformer = preset.transformer;
  of.text_encoder = preset.text_encoder, of.text_encoder_2 = preset.text_encoder_2;
  of.text_encoder_3 = preset.text_encoder_3;
  return preset_to_json(of);
}

// Runs of a pair may be of several models: a source that another has drawn.
Model& PairedRuns::model_of(const Preset& preset) {
  std::unique_ptr<Model>& model = models_[model_key(preset)];
  if (!model) model = Model::of(preset, path_);
  return *model;
}

Outcome PairedRuns::run(const Preset& preset, double& judge_seconds) {
  RunEvents events;
  events.cancelled = events_.cancelled;
  const RunResult result = generate(preset, path_, model_of(preset), events);
  if (result.cancelled) fail(ErrorCode::cancelled, "promise", "all pairs", "an interrupt");
  Outcome outcome{.members = result.members, .seconds = result.seconds.steps};
  const auto began = std::chrono::steady_clock::now();
  for (Image& image : tensor_to_images(contiguous(channels_last(result.image)))) {
    SeenPicture verdict = judge_(image);
    outcome.pictures.push_back({std::move(image), std::move(verdict)});
  }
  judge_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return outcome;
}

PromiseResult PairedRuns::header(int threads) {
  const Preset preset = preset_of(draw_case(world_, spec_.groups[0], 0), spec_.method);
  if (threads > 0 || preset.threads > 0) set_threads(threads > 0 ? threads : preset.threads);
  PromiseResult out{.name = spec_.name, .says = spec_.says, .model = preset.model};
  out.has_method = spec_.method.has_value();
  for (const char* key : {"inversion", "attention"}) {  // the latter says more
    const YamlNode* settings = spec_.method ? spec_.method->find(key) : nullptr;
    if (settings != nullptr) out.settings = yaml_to_json(*settings);
  }
  out.steps = preset.sampler.steps.value_or(0);
  out.guidance = preset.sampler.guidance.value_or(0);
  out.bars = spec_.bars;
  out.time_ratio = spec_.time_ratio;
  return out;
}

Pair PairedRuns::pair_of(const CaseGroup& group, int index, double& judge_seconds) {
  Pair pair{.wanted = draw_case(world_, group, index)};
  if (spec_.source) {
    pair.source = run(preset_of(pair.wanted, spec_.source), judge_seconds);
    source_.hold(pair.source->result());
  }
  pair.plain = run(preset_of(pair.wanted, spec_.plain), judge_seconds);
  if (spec_.method) pair.method = run(preset_of(pair.wanted, spec_.method), judge_seconds);
  return pair;
}

GroupResult PairedRuns::measure(const CaseGroup& group, int& done, int total) {
  GroupResult out{.name = group.name};
  for (const Metric* m : metrics_) out.metrics.push_back({.metric = m->name});
  for (int i = 0; i < group.count; ++i) {
    const Pair pair = pair_of(group, i, out.judge_seconds);
    out.prompts.push_back(pair.wanted.edit == EditedPart::none
                              ? pair.wanted.prompt
                              : pair.wanted.prompt + " -> " + pair.wanted.edited_prompt);
    out.plain_seconds.push_back(pair.plain.seconds);
    if (pair.method) out.method_seconds.push_back(pair.method->seconds);
    for (size_t m = 0; m < metrics_.size(); ++m) {
      out.metrics[m].plain.push_back(metrics_[m]->of(pair, pair.plain).value_or(NAN));
      if (pair.method) out.metrics[m].method.push_back(metrics_[m]->of(pair, *pair.method).value_or(NAN));
    }
    if (events_.on_pair) events_.on_pair(pair, ++done, total);
  }
  return out;
}

}  // namespace

YamlNode case_preset(const PromiseSpec& spec, const std::optional<YamlNode>& over, const Case& wanted,
                     const std::optional<SourceFiles>& source) {
  auto words = case_words(wanted);
  if (source) {
    words["source"] = YamlNode::words(source->picture);
    words["mask"] = YamlNode::words(source->mask);
  }
  return with_words(over ? laid_over(spec.preset, *over) : spec.preset, words);
}

PromiseResult measure_promise(const PromiseSpec& spec, const std::string& path, const PromiseOptions& options,
                              const PromiseEvents& events) {
  PairedRuns runs(spec, path, events);
  PromiseResult result = runs.header(options.threads);
  std::vector<CaseGroup> groups = spec.groups;
  int total = 0, done = 0;
  for (CaseGroup& group : groups) total += group.count = options.pairs.value_or(group.count);
  for (const CaseGroup& group : groups) result.groups.push_back(runs.measure(group, done, total));
  return result;
}

}  // namespace heddle
