// Factors multiplied out, their shapes checked.
#include "io/lora_layer.h"

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

Tensor as_matrix(const Tensor& x) {
  return reshape(contiguous(x), {x.dim(0), x.count() / x.dim(0)});
}

bool is_matrix(const Tensor& x) {
  return x.defined() && (x.rank() == 2 || x.rank() == 4) && x.count() > 0;
}

int64_t taps_of(const Tensor& core) {
  return core.count() / (core.dim(0) * core.dim(1));
}

Tensor rows_of(const Tensor& whole, const LoraRows& rows) {
  if (!whole.defined()) return whole;
  const int64_t count = whole.dim(0);
  if (rows.swapped_halves) return concat({slice(whole, 0, count / 2, count), slice(whole, 0, 0, count / 2)}, 0);
  const int64_t share = count / rows.of;
  return contiguous(slice(whole, 0, rows.first * share, (rows.first + rows.count) * share));
}

// Of LyCORIS' factors with a core, a is stored [r,rows].
void turn(LoraFactor& factor) {
  if (factor.core.defined() && is_matrix(factor.a)) factor.a = contiguous(transpose(as_matrix(factor.a)));
}

void check_factor(const LoraLayer& layer, const LoraFactor& factor, const char* first, const char* other) {
  if (factor.whole.defined()) {
    if (factor.a.defined() || factor.b.defined() || factor.core.defined())
      layer.fail_layer("a factor whole or in halves", "both", "another file");
    if (!is_matrix(factor.whole)) layer.fail_layer("matrices or convolutions", factor.whole.shape().text());
    return;
  }
  if (!is_matrix(factor.a) || !is_matrix(factor.b)) {
    const bool one = factor.a.defined() != factor.b.defined();
    layer.fail_layer("both halves of the layer, matrices or convolutions",
                     one ? "its " + std::string(factor.a.defined() ? first : other) + " half alone"
                         : std::string(factor.a.defined() ? "another rank of tensor" : "neither half"));
  }
  const int64_t inner = !factor.core.defined() ? factor.b.dim(0)
                        : factor.core.rank() == 4 && factor.core.count() > 0 && factor.core.dim(1) == factor.b.dim(0)
                            ? factor.core.dim(0)
                            : -1;
  if (factor.a.dim(1) != inner || factor.a.count() != factor.a.dim(0) * factor.a.dim(1))
    layer.fail_layer("halves of one rank", factor.a.shape().text() + " and " + factor.b.shape().text());
}

}  // namespace

int64_t LoraFactor::rows() const {
  return whole.defined() ? whole.dim(0) : a.dim(0);
}

int64_t LoraFactor::columns() const {
  if (whole.defined()) return whole.count() / whole.dim(0);
  return b.count() / b.dim(0) * (core.defined() ? taps_of(core) : 1);
}

Tensor LoraFactor::left() const {
  return as_matrix(a);
}

Tensor LoraFactor::right() const {
  return as_matrix(b);
}

Tensor LoraFactor::product() const {
  if (whole.defined()) return as_matrix(whole);
  if (!core.defined()) return matmul(left(), right());
  const int64_t outputs = a.dim(0), r = b.dim(0), taps = taps_of(core);
  const Tensor first = matmul(left(), as_matrix(core));                                    // [rows, r * taps]
  const Tensor turned = permute(reshape(first, {outputs, r, taps}), {0, 2, 1});            // [rows,taps,r]
  const Tensor mixed = matmul(reshape(contiguous(turned), {outputs * taps, r}), right());  // [rows * taps, columns]
  const Tensor back = permute(reshape(mixed, {outputs, taps, mixed.dim(1)}), {0, 2, 1});
  return reshape(contiguous(back), {outputs, mixed.dim(1) * taps});
}

std::optional<int64_t> LoraLayer::rank() const {
  if (second.b.defined()) return second.b.dim(0);
  if (first.b.defined()) return first.b.dim(0);
  return std::nullopt;
}

void LoraLayer::check() {
  if (!kind && !bias_difference.defined())
    fail_layer("both halves of the layer, matrices or convolutions", "neither half");
  for (const Tensor* each : {&bias, &bias_difference, &magnitude})
    if (each->defined() && each->rank() == 0) fail_layer("numbers along an axis", each->shape().text());
  if (!kind) return;  // a bias alone
  if (*kind == LoraKind::whole) {
    if (first.whole.rank() == 0 || first.whole.count() == 0) fail_layer("a difference", first.whole.shape().text());
    return;
  }
  if (*kind != LoraKind::low_rank) turn(first), turn(second);
  const bool low_rank = *kind == LoraKind::low_rank;
  check_factor(*this, first, low_rank ? "up" : "a", low_rank ? "down" : "b");
  if (low_rank) return;
  check_factor(*this, second, "a", "b");
  if (*kind == LoraKind::hadamard && (first.rows() != second.rows() || first.columns() != second.columns())) {
    fail_layer("two products of one shape",
               Shape{first.rows(), first.columns()}.text() + " and " + Shape{second.rows(), second.columns()}.text());
  }
}

void LoraLayer::require_fit(const Shape& weight) const {
  const bool kronecker = *kind == LoraKind::kronecker;
  const int64_t rows = first.rows() * (kronecker ? second.rows() : 1) / cut.of * cut.count,
                columns = first.columns() * (kronecker ? second.columns() : 1);
  if (weight.count() == 0 || rows != weight[0] || columns != weight.count() / weight[0])
    fail_layer("matrices for a weight " + weight.text(), Shape{rows, columns}.text());
}

Tensor LoraLayer::bias_part(const Tensor& part, const Shape& shape) const {
  if (part.count() != shape.count()) fail_layer("a bias " + shape.text(), part.shape().text());
  return reshape(contiguous(part), shape);
}

Tensor LoraLayer::difference(const Shape& weight) const {
  require_fit(weight);
  if (*kind != LoraKind::kronecker) {
    const Tensor one = first.product();
    return reshape(*kind == LoraKind::hadamard ? multiply(one, second.product()) : one, weight);
  }
  const Tensor blocks = reshape(first.product(), {first.rows(), 1, first.columns(), 1});
  const Tensor block = reshape(second.product(), {1, second.rows(), 1, second.columns()});
  const Tensor all =
      reshape(multiply(blocks, block), {first.rows() * second.rows(), first.columns() * second.columns()});
  return reshape(rows_of(all, cut), weight);
}

Tensor LoraLayer::with_magnitude(const Tensor& sum) const {
  const int64_t outputs = sum.dim(0), inputs = sum.dim(1);
  const int64_t wanted = magnitude_of_inputs ? inputs : outputs;
  if (magnitude.count() != wanted) fail_layer(std::to_string(wanted) + " magnitudes", magnitude.shape().text());
  const Tensor parts = reshape(contiguous(sum), {outputs, inputs, sum.count() / (outputs * inputs)});
  const Tensor length = square_root(heddle::sum(square(parts), {magnitude_of_inputs ? 0 : 1, 2}, Axes::keep));
  const Tensor factor = divide(reshape(contiguous(magnitude), length.shape()), length);
  return reshape(multiply(parts, factor), sum.shape());
}

LoraLayer LoraLayer::part(const LoraRows& rows) const {
  const bool halves = rows.swapped_halves;
  if (rows.of == 1 && !halves) return *this;
  if (magnitude_of_inputs)
    fail_layer("magnitudes of outputs for a layer that is part of another", magnitude.shape().text());
  const int parts = halves ? 2 : rows.of;
  const auto check_rows = [&](int64_t count) {
    if (count % parts != 0)
      fail_layer("rows in " + std::to_string(parts) + " equal parts", std::to_string(count) + " rows");
  };
  for (const Tensor* each : {&bias, &bias_difference, &magnitude})
    if (each->defined()) check_rows(each->dim(0));
  LoraLayer out = *this;
  out.bias = rows_of(bias, rows);
  out.bias_difference = rows_of(bias_difference, rows);
  out.magnitude = rows_of(magnitude, rows);
  if (!kind) return out;
  const bool kronecker = *kind == LoraKind::kronecker;
  check_rows(kronecker ? first.rows() * second.rows() : first.rows());
  if (kronecker) {
    out.cut = rows;
    return out;
  }
  for (LoraFactor* factor : {&out.first, &out.second}) {
    factor->whole = rows_of(factor->whole, rows);
    factor->a = rows_of(factor->a, rows);
  }
  return out;
}

void LoraLayer::fail_layer(const std::string& wanted, const std::string& got, const std::string& hint) const {
  fail(ErrorCode::input, written, wanted, got, hint);
}

}  // namespace heddle
