// A component's weights out of a file that names and joins them in its own way: pieces stay views of the mapped file.
#pragma once

#include <memory>
#include <set>

#include "io/checkpoint/layer_names.h"
#include "io/checkpoint/tensor_shapes.h"
#include "io/tensor_file.h"
#include "io/weights.h"

namespace heddle {

class RenamedWeights final : public ComponentWeights {
 public:
  RenamedWeights(std::shared_ptr<const TensorFile> file, Pieces pieces);
  // A matrix that the file leaves out because it is the identity.
  void add_identity(const std::string& name, int64_t side) { identities_.emplace(name, side); }

  bool has(const std::string& name) const override { return pieces_.contains(name) || identities_.contains(name); }
  Tensor take(const std::string& name, const Shape& shape) override;
  Tensor take_any(const std::string& name) override;
  std::optional<QuantizedWeight> take_quantized(const std::string& name, const Shape& shape) override;
  void release(const Tensor& tensor) override { file_->release(tensor); }
  std::vector<std::string> names() const override;
  void require_all_used() const override;

  TensorShapes shapes() const;  // under our names

 private:
  const Piece& piece(const std::string& name) const;
  void check_shape(const std::string& name, const Shape& shape) const;

  std::shared_ptr<const TensorFile> file_;
  Pieces pieces_;
  std::map<std::string, int64_t> identities_;
  std::set<std::string> used_;
};

}  // namespace heddle
