// heddle inspect: what a checkpoint is, what a file of tensors holds, what a picture was made with.
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "io/checkpoint/checkpoint_file.h"
#include "io/gguf.h"
#include "io/png.h"
#include "io/weights.h"
#include "kernels/core/error.h"
#include "unet_dit/flux.h"
#include "unet_dit/sd3.h"
#include "unet_dit/unet.h"

namespace heddle::cli {
namespace {

namespace fs = std::filesystem;

struct TensorSummary {
  int64_t tensors = 0, parameters = 0, bytes = 0;
  std::map<std::string, int64_t> by_type;
};

struct StoredTensor {
  std::string type;
  Shape shape;
  int64_t bytes = 0;
};
using StoredTensors = std::map<std::string, StoredTensor>;

StoredTensors stored_in(const std::string& path) {
  StoredTensors out;
  if (path.ends_with(".gguf")) {
    const GgufFile file(path);
    for (const auto& [name, tensor] : file.tensors()) {
      const BlockFormat& format = format_of(tensor.type);
      out[name] = {format.name, tensor.shape, tensor.shape.count() / format.elements * format.bytes};
    }
    return out;
  }
  const SafetensorsSet set(path);
  for (const auto& [name, shard] : set.names()) {
    const TensorEntry& entry = set.entry(name);
    out[name] = {entry.type, entry.shape, entry.end - entry.begin};
  }
  return out;
}

TensorSummary summarize(const StoredTensors& stored) {
  TensorSummary out;
  for (const auto& [name, tensor] : stored) {
    ++out.tensors;
    out.parameters += tensor.shape.count();
    out.bytes += tensor.bytes;
    ++out.by_type[tensor.type];
  }
  return out;
}

void print_summary(const std::string& label, const TensorSummary& s) {
  std::cout << std::left << std::setw(18) << label << s.tensors << " tensors, " << std::fixed << std::setprecision(2)
            << static_cast<double>(s.parameters) / 1e6 << " M parameters, " << static_cast<double>(s.bytes) / (1 << 20)
            << " MiB";
  for (const auto& [type, count] : s.by_type) std::cout << ", " << count << " " << type;
  std::cout << "\n";
}

template <class Network, class Config>
std::vector<AttentionSite> sites_of(const ComponentSource& component) {
  return Network(Config::from(component.config), Scope(*component.weights, DType::f32)).sites();
}

const char* kind_text(AttentionKind kind) {
  const char* names[] = {"self", "cross", "joint", "temporal"};
  return names[static_cast<int>(kind)];
}

// The sites of a denoiser; nothing for other components.
void print_sites(const ComponentSource& component) {
  const auto name = component.config.get_or<std::string>("_class_name", "");
  std::vector<AttentionSite> sites;
  if (name == "UNet2DConditionModel") sites = sites_of<UNet, UNetConfig>(component);
  if (name == "SD3Transformer2DModel") sites = sites_of<SD3Transformer, SD3Config>(component);
  if (name == "FluxTransformer2DModel") sites = sites_of<FluxTransformer, FluxConfig>(component);
  for (const AttentionSite& site : sites) {
    std::cout << "    " << std::left << std::setw(34) << site.name << std::setw(5) << kind_text(site.kind) << "  "
              << site.heads << " heads of " << site.head_dim << "\n";
  }
}

void inspect_model(const fs::path& folder, bool sites) {
  const Json index = Json::read((folder / "model_index.json").string());
  std::cout << index.get<std::string>("_class_name") << "  " << folder.string() << "\n";
  for (const std::string& key : index.keys()) {
    if (key.front() == '_' || !index.has(key)) continue;
    const Json entry = index.get<Json>(key);
    if (!entry.is_array() || entry.size() != 2 || !entry[1].node().is_string()) continue;
    std::cout << "  " << std::left << std::setw(18) << key << entry[1].as<std::string>() << "\n";
    std::error_code ignored;
    const bool has_config = fs::exists(folder / key / "config.json", ignored);
    if (has_config) {
      std::cout << "    ";
      print_summary("", summarize(stored_in(find_weights((folder / key).string()))));
    }
    if (has_config && sites) print_sites(open_component_folder((folder / key).string()));
  }
}

void inspect_component(const fs::path& folder, bool sites) {
  const Json config = Json::read((folder / "config.json").string());
  std::cout << config.node().dump(1) << "\n";
  print_summary("", summarize(stored_in(find_weights(folder.string()))));
  if (sites) print_sites(open_component_folder(folder.string()));
}

void print_component(const CheckpointFile& file, const std::string& name, bool sites) {
  std::cout << name << "  ";
  try {
    const ComponentSource component = file.open(name);
    std::cout << component.config.node().dump(1) << "\n";
    if (sites) print_sites(component);
  } catch (const Error& error) {
    std::cout << error.what() << "\n";  // its tensors are listed all the same
  }
}

// What a file of tensors holds, where it is a model or a part of one.
void inspect_checkpoint(const std::string& path, bool sites) {
  std::optional<CheckpointFile> file;
  try {
    file.emplace(path);
  } catch (const Error&) {
    return;  // tensors of another kind, or no such file: what lists them says so
  }
  if (!file->pipeline().empty()) std::cout << file->pipeline() << "  " << path << "\n";
  for (const std::string& name : file->components()) print_component(*file, name, sites);
}

void inspect_tensors(const std::string& path, bool sites) {
  inspect_checkpoint(path, sites);
  const StoredTensors stored = stored_in(path);
  for (const auto& [name, tensor] : stored)
    std::cout << name << "  " << tensor.type << " " << tensor.shape.text() << "\n";
  print_summary("", summarize(stored));
}

void inspect_picture(const std::string& path) {
  const PngText texts = read_png_text(path);
  if (texts.empty()) fail(ErrorCode::input, path, "a picture with text about how it was made", "a PNG without any");
  for (const auto& [key, text] : texts) std::cout << key << ":\n" << text << "\n";
}

bool begins_as_png(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, 4);
  return std::string_view(magic, 4) == "\x89PNG";
}

}  // namespace

void add_inspect(CLI::App& app) {
  struct Arguments {
    std::string path;
    bool sites = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a model folder, component, safetensors or GGUF file, or picture is");
  command
      ->add_option("path", a->path,
                   "Model folder, component folder, .safetensors file or index, .gguf file, or a PNG that heddle or "
                   "its kin made")
      ->required();
  command->add_flag("--sites", a->sites, "Also list the attention sites of the denoiser");
  command->callback([a] {
    const fs::path path(a->path);
    std::error_code ignored;
    if (!fs::exists(path, ignored)) fail(ErrorCode::input, a->path, "a file or folder", "nothing there");
    if (fs::exists(path / "model_index.json", ignored)) return inspect_model(path, a->sites);
    if (fs::exists(path / "config.json", ignored)) return inspect_component(path, a->sites);
    if (begins_as_png(a->path)) return inspect_picture(a->path);
    inspect_tensors(a->path, a->sites);
  });
}

}  // namespace heddle::cli
