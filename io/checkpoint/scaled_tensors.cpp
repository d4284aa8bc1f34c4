// Finds scales by their names.
#include "io/checkpoint/scaled_tensors.h"

#include <array>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// Scales of what enters a layer serve products of eight-bit numbers, which are not made here; the others are marks.
constexpr std::array useless{".scale_input", ".input_scale", ".comfy_quant"};
constexpr std::array scales{".scale_weight", ".weight_scale"};
constexpr const char* mark = "scaled_fp8";

std::string without(const std::string& name, const std::string& ending) {
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) : "";
}

class ScaledTensors final : public TensorFile {
 public:
  explicit ScaledTensors(std::shared_ptr<const TensorFile> file) : file_(std::move(file)) {
    const std::map<std::string, Shape>& all = file_->shapes();
    for (const auto& [name, shape] : all) {
      if (!is_aside(name, shape)) shapes_.emplace(name, shape);
    }
  }
  bool empty() const { return shapes_.size() == file_->shapes().size(); }

  const std::string& path() const override { return file_->path(); }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  std::optional<QuantizedMatrix> quantized(const std::string& name) const override { return file_->quantized(name); }
  void release(const Tensor& tensor) const override { file_->release(tensor); }

  Tensor read(const std::string& name) const override {
    Tensor stored = file_->read(name);
    const auto found = scales_.find(name);
    if (found == scales_.end()) return stored;
    const double factor = to(file_->read(found->second), DType::f32).to_vector()[0];
    Tensor scaled = scale(to(contiguous(stored), DType::f32), factor);
    file_->release(stored);
    return scaled;
  }

 private:
  bool is_aside(const std::string& name, const Shape& shape) {
    if (name == mark || name.ends_with(std::string(".") + mark)) return true;
    const auto layer_has_weight = [&](const std::string& layer) {
      return !layer.empty() && file_->shapes().contains(layer + ".weight");
    };
    for (const char* ending : useless) {
      if (layer_has_weight(without(name, ending))) return true;
    }
    for (const char* ending : scales) {
      const std::string layer = without(name, ending);
      if (!layer_has_weight(layer)) continue;
      if (shape.count() != 1)
        fail(ErrorCode::input, path() + " " + name, "one scale for a matrix", shape.text(), "a file of bf16 or GGUF");
      scales_[layer + ".weight"] = name;
      return true;
    }
    return false;
  }

  std::shared_ptr<const TensorFile> file_;
  std::map<std::string, Shape> shapes_;
  std::map<std::string, std::string> scales_;  // of a matrix
};

}  // namespace

std::shared_ptr<const TensorFile> without_scales(std::shared_ptr<const TensorFile> file) {
  auto scaled = std::make_shared<ScaledTensors>(file);
  if (scaled->empty()) return file;
  return scaled;
}

}  // namespace heddle
