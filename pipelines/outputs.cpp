// Names and writes outputs.
#include "pipelines/outputs.h"

#include <algorithm>
#include <filesystem>

#include "io/file.h"
#include "io/image_tensor.h"
#include "io/png.h"
#include "io/preset_file.h"
#include "io/safetensors.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"
#include "pipelines/loss_plot.h"
#include "pipelines/word_maps.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

// NAME.png with a mark before the ending.
std::string marked(const std::string& path, const std::string& mark) {
  fs::path out(path);
  out.replace_filename(out.stem().string() + mark + (out.has_extension() ? out.extension().string() : ".png"));
  return out.string();
}

// What stands behind NAME, row by row: members after a source by their names, "target" being the picture itself.
std::vector<std::string> marks(const RunResult& result, size_t pictures) {
  const std::vector<std::string>& members = result.members;
  const bool edits = std::ranges::find(members, "target") != members.end();
  const size_t each = edits ? pictures / members.size() : pictures;
  std::vector<std::string> out;
  for (size_t i = 0; i < pictures; ++i) {
    const std::string member = edits ? members[i / each] : "target";
    out.push_back((member == "target" ? "" : "-" + member) + (each > 1 ? "-" + std::to_string(i % each) : ""));
  }
  return out;
}

}  // namespace

std::vector<std::string> write_outputs(const RunResult& result) {
  const Preset& preset = result.preset;
  const std::string base = marked(preset.output, result.cancelled ? "-cancelled" : "");
  std::vector<std::string> paths;
  const std::vector<Image> pictures = tensor_to_images(contiguous(channels_last(result.image)));
  const std::vector<std::string> names = marks(result, pictures.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    const std::string path = names[i].empty() ? base : marked(base, names[i]);
    write_png(path, pictures[i],
              {{"parameters", a1111_parameters(preset, static_cast<int>(i))}, {"heddle", preset_to_json(preset)}});
    paths.push_back(path);
  }
  if (!preset.save_latents.empty()) {
    write_safetensors(preset.save_latents, {{"latents", result.latents}});
    paths.push_back(preset.save_latents);
  }
  if (!preset.save_image_tensor.empty()) {
    write_safetensors(preset.save_image_tensor, {{"image", result.image}});
    paths.push_back(preset.save_image_tensor);
  }
  if (!preset.save_maps.empty()) {
    const std::vector<std::string> maps = write_word_maps(preset.save_maps, result.word_maps, result.image);
    paths.insert(paths.end(), maps.begin(), maps.end());
  }
  if (result.mask.defined()) {
    const Tensor mask = upsample_nearest(channels_last(result.mask), result.image.dim(2), result.image.dim(3));
    const std::vector<Image> masks = tensor_to_images(contiguous(mask));
    for (size_t i = 0; i < masks.size(); ++i) {
      paths.push_back(names[i].empty() ? preset.save_mask : marked(preset.save_mask, names[i]));
      write_png(paths.back(), masks[i]);
    }
  }
  if (!preset.save_losses.empty()) {
    write_file(preset.save_losses, loss_plot(result.losses));
    paths.push_back(preset.save_losses);
  }
  return paths;
}

}  // namespace heddle
