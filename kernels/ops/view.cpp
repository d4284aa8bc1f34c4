// Views, copies and conversions with their gradients.
#include "kernels/ops/view.h"

#include <algorithm>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/elementwise.h"

namespace heddle {
namespace {

Tensor dense(const Tensor& x) {
  if (x.is_contiguous()) return x.detach();
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  if (out.count() > 0) cpu::copy(x, out);
  return out;
}

// The part of `x` between begin and end on `axis`, sharing its buffer.
Tensor window(const Tensor& x, int axis, int64_t begin, int64_t end) {
  Shape shape = x.shape();
  shape[axis] = end - begin;
  return x.view(shape, x.strides(), begin * x.strides()[axis]);
}

}  // namespace

Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return x;
  return record(dense(x), {x}, [](const Tensor& c) { return std::vector{c}; });
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (shape.count() != x.count())
    fail(ErrorCode::internal, "reshape", "as many elements as " + x.shape().text(), shape.text());
  const Tensor out = dense(x).view(shape, row_major_strides(shape), 0);
  return record(out, {x}, [before = x.shape()](const Tensor& c) { return std::vector{reshape(c, before)}; });
}

Tensor permute(const Tensor& x, std::initializer_list<int> axes) {
  const std::vector<int> order(axes);
  std::vector<int> inverse(order.size(), -1);
  Shape shape = x.shape(), strides = x.strides();
  if (static_cast<int>(order.size()) != x.rank())
    fail(ErrorCode::internal, "permute", "each axis once", x.shape().text());
  for (int i = 0; i < x.rank(); ++i) {
    const int from = x.shape().axis(order[i]);
    shape[i] = x.shape()[from];
    strides[i] = x.strides()[from];
    inverse[from] = i;
  }
  return record(x.view(shape, strides, 0), {x}, [inverse](const Tensor& c) {
    Shape shape = c.shape(), strides = c.strides();
    for (size_t i = 0; i < inverse.size(); ++i) {
      shape[static_cast<int>(i)] = c.shape()[inverse[i]];
      strides[static_cast<int>(i)] = c.strides()[inverse[i]];
    }
    return std::vector{c.view(shape, strides, 0)};
  });
}

Tensor transpose(const Tensor& x) {
  const int last = x.rank() - 1;
  Shape shape = x.shape(), strides = x.strides();
  std::swap(shape[last], shape[last - 1]);
  std::swap(strides[last], strides[last - 1]);
  return record(x.view(shape, strides, 0), {x}, [](const Tensor& c) { return std::vector{transpose(c)}; });
}

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  axis = x.shape().axis(axis);
  const int64_t extent = x.shape()[axis];
  if (begin < 0 || begin > end || end > extent) {
    fail(ErrorCode::internal, "slice", "bounds within 0.." + std::to_string(extent),
         std::to_string(begin) + ".." + std::to_string(end));
  }
  return record(window(x, axis, begin, end), {x}, [axis, begin, after = extent - end](const Tensor& c) {
    return std::vector{pad(c, axis, begin, after)};
  });
}

std::vector<Tensor> split(const Tensor& x, int axis, int64_t parts) {
  const int64_t extent = x.dim(axis);
  if (parts <= 0 || extent % parts != 0) {
    fail(ErrorCode::internal, "split", "an extent divisible by " + std::to_string(parts), std::to_string(extent));
  }
  std::vector<Tensor> out;
  for (int64_t i = 0; i < parts; ++i) out.push_back(slice(x, axis, i * extent / parts, (i + 1) * extent / parts));
  return out;
}

Tensor concat(std::span<const Tensor> parts, int axis) {
  if (parts.empty()) fail(ErrorCode::internal, "concat", "at least one tensor", "none");
  axis = parts[0].shape().axis(axis);
  Shape shape = parts[0].shape();
  std::vector<int64_t> ends{0};
  for (const Tensor& part : parts) {
    Shape expected = shape;
    expected[axis] = part.rank() == shape.rank() ? part.shape()[axis] : 0;
    if (!(part.shape() == expected) || part.dtype() != parts[0].dtype()) {
      fail(ErrorCode::internal, "concat", "parts like " + shape.text() + " but on one axis", part.shape().text());
    }
    ends.push_back(ends.back() + part.shape()[axis]);
  }
  shape[axis] = ends.back();
  Tensor out = Tensor::empty(shape, parts[0].dtype());
  for (size_t i = 0; i < parts.size(); ++i) {
    Tensor place = window(out, axis, ends[i], ends[i + 1]);
    if (place.count() > 0) cpu::copy(parts[i], place);
  }
  if (!any_tracked(parts)) return out;
  return record({out}, parts, [axis, ends](std::span<const Tensor> c) {
    std::vector<Tensor> back;
    for (size_t i = 0; i + 1 < ends.size(); ++i) back.push_back(window(c[0], axis, ends[i], ends[i + 1]));
    return back;
  })[0];
}

Tensor with_slice(const Tensor& x, int axis, int64_t begin, const Tensor& part) {
  const int64_t end = begin + part.dim(axis);
  std::vector<Tensor> parts{part};
  if (begin > 0) parts.insert(parts.begin(), slice(x, axis, 0, begin));
  if (end < x.dim(axis)) parts.push_back(slice(x, axis, end, x.dim(axis)));
  return parts.size() == 1 ? part : concat(parts, axis);
}

Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, float value) {
  axis = x.shape().axis(axis);
  Shape shape = x.shape();
  shape[axis] += before + after;
  Tensor out = Tensor::full(shape, value, x.dtype());
  Tensor place = window(out, axis, before, before + x.shape()[axis]);
  if (x.count() > 0) cpu::copy(x, place);
  return record(out, {x}, [axis, before, extent = x.shape()[axis]](const Tensor& c) {
    return std::vector{window(c, axis, before, before + extent)};
  });
}

Tensor repeat(const Tensor& x, int axis, int64_t times) {
  const std::vector<Tensor> copies(static_cast<size_t>(times), x);
  return concat(copies, axis);
}

Tensor gather(const Tensor& x, int axis, std::span<const int64_t> indices) {
  axis = x.shape().axis(axis);
  Shape shape = x.shape();
  shape[axis] = static_cast<int64_t>(indices.size());
  Tensor out = Tensor::empty(shape, x.dtype());
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= x.shape()[axis]) {
      fail(ErrorCode::internal, "gather", "indices within " + x.shape().text(), std::to_string(indices[i]));
    }
    Tensor place = window(out, axis, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1);
    cpu::copy(window(x, axis, indices[i], indices[i] + 1), place);
  }
  return record(
      out, {x},
      [axis, shape = x.shape(), order = std::vector<int64_t>(indices.begin(), indices.end())](const Tensor& c) {
        Tensor back = Tensor::zeros(shape, c.dtype());
        for (size_t i = 0; i < order.size(); ++i) {
          Tensor place = window(back, axis, order[i], order[i] + 1);
          Tensor total = Tensor::empty(place.shape(), c.dtype());
          cpu::binary(cpu::BinaryOp::add, place, window(c, axis, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1),
                      total);
          cpu::copy(total, place);
        }
        return std::vector{back};
      });
}

Tensor channels_last(const Tensor& x) {
  return contiguous(permute(x, {0, 2, 3, 1}));
}
Tensor channels_first(const Tensor& x) {
  return contiguous(permute(x, {0, 3, 1, 2}));
}

Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor out = Tensor::empty(x.shape(), dtype);
  if (out.count() > 0) cpu::cast(dense(x), out);
  return record(out, {x}, [before = x.dtype()](const Tensor& c) { return std::vector{to(c, before)}; });
}

}  // namespace heddle
