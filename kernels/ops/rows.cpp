// Views of products' operands.
#include "kernels/ops/rows.h"

#include "kernels/ops/view.h"

namespace heddle {

std::optional<Tensor> joined_lead(const Tensor& x, int kept) {
  const int lead = x.rank() - kept;
  int64_t count = 1, stride = 0;
  for (int i = lead - 1; i >= 0; --i) {
    if (x.shape()[i] == 1) continue;
    if (count == 1)
      stride = x.strides()[i];
    else if (x.strides()[i] != stride * count)
      return std::nullopt;
    count *= x.shape()[i];
  }
  Shape shape{count}, strides{stride};
  for (int i = lead; i < x.rank(); ++i) {
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return x.view(shape, strides, 0);
}

Tensor rows_of(const Tensor& tracked) {
  const Tensor x = tracked.detach();
  const auto joined = joined_lead(x, 1);
  const int64_t columns = x.shape().back();
  if (joined && (columns == 1 || joined->strides()[1] == 1) &&
      (joined->shape()[0] == 1 || joined->strides()[0] >= columns)) {
    const int64_t stride = joined->shape()[0] == 1 ? columns : joined->strides()[0];
    return joined->view(joined->shape(), {stride, 1}, 0);
  }
  return reshape(x, {columns > 0 ? x.count() / columns : 0, columns});
}

Tensor dense_rows(const Tensor& x) {
  const int64_t columns = x.shape().back();
  return reshape(x.detach(), {columns > 0 ? x.count() / columns : 0, columns});
}

}  // namespace heddle
