// Reductions: the reduced axes are brought last and summed in double.
#include "kernels/ops/reduce.h"

#include <algorithm>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

struct Plan {
  Shape kept;          // the result with reduced axes at extent 1
  Shape outer, inner;  // extents of the kept and of the reduced axes
  Shape outer_strides, inner_strides;
};

Plan plan_for(const Tensor& x, std::span<const int> axes) {
  Plan plan{.kept = x.shape()};
  for (const int axis : axes) plan.kept[x.shape().axis(axis)] = -1;
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = plan.kept[i] == -1;
    (reduced ? plan.inner : plan.outer).push_back(x.shape()[i]);
    (reduced ? plan.inner_strides : plan.outer_strides).push_back(x.strides()[i]);
    if (reduced) plan.kept[i] = 1;
  }
  return plan;
}

Shape without_axes(const Shape& shape, std::span<const int> axes) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (std::none_of(axes.begin(), axes.end(), [&](int axis) { return shape.axis(axis) == i; }))
      out.push_back(shape[i]);
  }
  return out;
}

Tensor joined_view(const Tensor& x, const Plan& plan) {
  Shape shape = plan.outer, strides = plan.outer_strides;
  for (int i = 0; i < plan.inner.rank(); ++i) {
    shape.push_back(plan.inner[i]);
    strides.push_back(plan.inner_strides[i]);
  }
  return contiguous(x.view(shape, strides, 0));
}

Tensor row_sums(const Tensor& dense, int64_t rows, int64_t length) {
  Tensor out = Tensor::empty({rows}, DType::f32);
  float* target = out.fill_data<float>();
  const Tensor f32 = to(dense, DType::f32);
  const float* source = f32.data<float>();
#pragma omp parallel for schedule(static) if (rows * length > 32768)
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t i = 0; i < length; ++i) total += source[r * length + i];
    target[r] = static_cast<float>(total);
  }
  return out;
}

// The cotangent of a reduction, stretched back over the reduced axes.
Tensor stretch(const Tensor& cotangent, const Shape& kept, const Shape& shape) {
  return add(reshape(cotangent, kept), Tensor::zeros(shape, cotangent.dtype()));
}

Tensor sum_over(const Tensor& x, std::span<const int> axes, Axes kept) {
  const Plan plan = plan_for(x, axes);
  const Tensor sums = row_sums(joined_view(x, plan), plan.outer.count(), plan.inner.count());
  const Tensor out = to(sums, x.dtype()).view(plan.kept, row_major_strides(plan.kept), 0);
  const Tensor recorded = record(out, {x}, [kept = plan.kept, shape = x.shape()](const Tensor& c) {
    return std::vector{stretch(c, kept, shape)};
  });
  return kept == Axes::keep ? recorded : reshape(recorded, without_axes(x.shape(), axes));
}

std::vector<int> all_axes(const Tensor& x) {
  std::vector<int> axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  return axes;
}

}  // namespace

Tensor sum(const Tensor& x) {
  return sum_over(x, all_axes(x), Axes::drop);
}

Tensor sum(const Tensor& x, std::initializer_list<int> axes, Axes kept) {
  return sum_over(x, std::span(axes.begin(), axes.size()), kept);
}

Tensor mean(const Tensor& x) {
  return scale(sum(x), 1.0 / static_cast<double>(x.count()));
}

Tensor mean(const Tensor& x, std::initializer_list<int> axes, Axes kept) {
  int64_t count = 1;
  for (const int axis : axes) count *= x.dim(axis);
  return scale(sum(x, axes, kept), 1.0 / static_cast<double>(count));
}

Tensor max(const Tensor& x, int axis, Axes kept) {
  axis = x.shape().axis(axis);
  const int64_t extent = x.shape()[axis];
  if (extent == 0) fail(ErrorCode::internal, "max", "a non-empty axis", x.shape().text());
  const int reduced[] = {axis};
  const Plan plan = plan_for(x, reduced);
  const std::vector<float> rows = joined_view(x, plan).to_vector();
  const int64_t count = plan.outer.count();
  std::vector<float> values(static_cast<size_t>(count)), first(rows.size(), 0.0f);
  for (int64_t r = 0; r < count; ++r) {
    const auto begin = rows.begin() + r * extent;
    const auto top = std::max_element(begin, begin + extent);
    values[static_cast<size_t>(r)] = *top;
    first[static_cast<size_t>(top - rows.begin())] = 1.0f;
  }
  const Tensor out = to(Tensor::from(std::span<const float>(values), plan.kept), x.dtype());
  Shape joined = plan.outer;
  joined.push_back(extent);
  const Tensor recorded = record(out, {x}, [first, joined, axis, kept = plan.kept](const Tensor& c) {
    // `first` marks the maxima with the reduced axis last; bring it back to its place.
    const Tensor mask = to(Tensor::from(std::span<const float>(first), joined), c.dtype());
    Shape shape = joined, strides = mask.strides();
    for (int i = joined.rank() - 1; i > axis; --i) {
      shape[i] = joined[i - 1];
      strides[i] = mask.strides()[i - 1];
    }
    shape[axis] = joined.back();
    strides[axis] = 1;
    return std::vector{multiply(mask.view(shape, strides, 0), reshape(c, kept))};
  });
  return kept == Axes::keep ? recorded : reshape(recorded, without_axes(x.shape(), reduced));
}

}  // namespace heddle
