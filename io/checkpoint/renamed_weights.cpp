// Cuts pieces out of stored tensors.
#include "io/checkpoint/renamed_weights.h"

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

Tensor identity(int64_t side) {
  Tensor out = Tensor::zeros({side, side});
  float* data = out.fill_data<float>();
  for (int64_t i = 0; i < side; ++i) data[i * side + i] = 1;
  return out;
}

Tensor cut(const Tensor& whole, const Piece& piece) {
  if (piece.change == Change::transposed) return permute(whole, {1, 0});
  const int64_t rows = piece.of > 1 || piece.change == Change::swapped_halves ? whole.dim(0) : 0;
  if (piece.change == Change::swapped_halves)
    return concat({slice(whole, 0, rows / 2, rows), slice(whole, 0, 0, rows / 2)}, 0);
  if (piece.of == 1) return whole;
  const int64_t share = rows / piece.of;
  return slice(whole, 0, piece.first * share, (piece.first + piece.count) * share);
}

QuantizedMatrix cut(const QuantizedMatrix& whole, const Piece& piece) {
  const int64_t rows = whole.rows(), share = rows / piece.of;
  if (piece.change == Change::swapped_halves)
    return whole.row_range(rows / 2, rows).followed_by(whole.row_range(0, rows / 2));
  return whole.row_range(piece.first * share, (piece.first + piece.count) * share);
}

}  // namespace

RenamedWeights::RenamedWeights(std::shared_ptr<const TensorFile> file, Pieces pieces)
    : file_(std::move(file)), pieces_(std::move(pieces)) {}

const Piece& RenamedWeights::piece(const std::string& name) const {
  const auto found = pieces_.find(name);
  if (found == pieces_.end()) {
    const std::string near = nearest_word(name, names());
    fail(ErrorCode::input, file_->path(), "the tensor \"" + name + "\"",
         near.empty() ? "none for it" : "none for it (the nearest is \"" + near + "\")",
         "a checkpoint of the kind that its other tensors say");
  }
  return found->second;
}

void RenamedWeights::check_shape(const std::string& name, const Shape& shape) const {
  const auto side = identities_.find(name);
  const Shape got = side != identities_.end() ? Shape{side->second, side->second}
                                              : shape_of(piece(name), file_->shapes().at(piece(name).source));
  if (!(got == shape)) {
    fail(ErrorCode::input, file_->path() + " " + (side == identities_.end() ? piece(name).source : name),
         "shape " + shape.text() + " for " + name, got.text(), "the weights that belong to this config.json");
  }
}

Tensor RenamedWeights::take(const std::string& name, const Shape& shape) {
  check_shape(name, shape);
  return take_any(name);
}

std::optional<QuantizedWeight> RenamedWeights::take_quantized(const std::string& name, const Shape& shape) {
  if (!pieces_.contains(name)) return std::nullopt;
  const Piece& of = piece(name);
  const auto whole = of.change == Change::transposed ? std::nullopt : file_->quantized(of.source);
  if (!whole) return std::nullopt;
  check_shape(name, shape);
  used_.insert(name);
  return QuantizedWeight{cut(*whole, of)};
}

Tensor RenamedWeights::take_any(const std::string& name) {
  used_.insert(name);
  if (const auto side = identities_.find(name); side != identities_.end()) return identity(side->second);
  return cut(file_->read(piece(name).source), piece(name));
}

std::vector<std::string> RenamedWeights::names() const {
  std::vector<std::string> out;
  for (const auto& [name, piece] : pieces_) out.push_back(name);
  for (const auto& [name, side] : identities_) out.push_back(name);
  return out;
}

void RenamedWeights::require_all_used() const {
  std::vector<std::string> surplus;
  for (const auto& [name, piece] : pieces_) {
    if (!used_.contains(name)) surplus.push_back(piece.source);
  }
  if (!surplus.empty()) fail_unused(file_->path(), surplus);
}

TensorShapes RenamedWeights::shapes() const {
  std::map<std::string, Shape> out;
  for (const auto& [name, piece] : pieces_) out.emplace(name, shape_of(piece, file_->shapes().at(piece.source)));
  return {file_->path(), std::move(out)};
}

}  // namespace heddle
