// Direct convolution: bias, row_bias and residual are added in f32 before the one rounding.
#include "kernels/cpu/direct_conv.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle::cpu {

using Tag = dnnl::memory::format_tag;
using Forward = dnnl::convolution_forward;
using Backward = dnnl::convolution_backward_data;

struct DirectFilter::Pictures {
  PreparedCache::Key key;
  MemoryDesc x, filter, bias, y;
  Dims strides, before, after;
};

namespace {

constexpr int64_t usual_size = 32;  // picture for which the packed layout is chosen

MemoryDesc picture_desc(const Shape& s, DType dtype) { return MemoryDesc(Dims{s[0], s[3], s[1], s[2]}, dnnl_type(dtype), Tag::nhwc); }

Forward::primitive_desc plan(const MemoryDesc& x, const MemoryDesc& filter, const MemoryDesc& bias, const MemoryDesc& y,
                             const Dims& strides, const Dims& before, const Dims& after, bool residual) {
  dnnl::primitive_attr attributes = counted_attributes();
  if (residual) {
    dnnl::post_ops ops;
    ops.append_binary(dnnl::algorithm::binary_add, y);
    attributes.set_post_ops(ops);
  }
  return {Forward::desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x, filter, bias, y, strides, before, after),
          attributes, engine()};
}

// Row n of a picture stack.
Tensor picture(const Tensor& stack, int64_t n) {
  Shape shape = stack.shape();
  shape[0] = 1;
  return stack.view(shape, stack.strides(), n * stack.strides()[0]);
}

Tensor in_dtype(const Tensor& x, DType dtype) { return x.defined() ? to(x, dtype) : x; }

}  // namespace

DirectFilter::DirectFilter(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute)
    : out_(weight.shape()[0]), in_(weight.shape()[1]), kernel_h_(weight.shape()[2]), kernel_w_(weight.shape()[3]),
      geometry_(geometry), stored_(product_dtype(compute)),
      bias_(bias.defined() ? contiguous(to(bias, DType::f32)).detach() : Tensor::zeros({weight.shape()[0]})) {
  const Tensor dense = to(contiguous(weight), stored_);
  const MemoryDesc plain(Dims{out_, in_, kernel_h_, kernel_w_}, dnnl_type(stored_), Tag::oihw);
  const int64_t h = usual_size + kernel_h_, w = usual_size + kernel_w_;
  const Padding& p = geometry_.padding;
  const Pictures usual = pictures({1, h, w, in_}, {1, (h + p.top + p.bottom - kernel_h_) / geometry_.stride + 1,
                                                   (w + p.left + p.right - kernel_w_) / geometry_.stride + 1, out_});
  const MemoryDesc any(plain.dims(), dnnl_type(stored_), Tag::any);
  try {
    const auto pd = plan(usual.x, any, usual.bias, usual.y, usual.strides, usual.before, usual.after, false);
    packed_ = repack(plain, dense.bytes(), pd.weights_desc());
  } catch (const dnnl::error& error) {
    fail(ErrorCode::internal, "onednn", "a convolution", error.message);
  }
}

DirectFilter::Pictures DirectFilter::pictures(const Shape& x, const Shape& y) const {
  const Padding& p = geometry_.padding;
  return {{x[0], x[1], x[2]}, picture_desc(x, stored_), packed_.desc, MemoryDesc(Dims{out_}, dnnl::memory::data_type::f32, Tag::a),
          picture_desc(y, stored_), {geometry_.stride, geometry_.stride}, {p.top, p.left}, {p.bottom, p.right}};
}

Prepared DirectFilter::prepare_forward(const Pictures& of, bool residual) const {
  PreparedCache::Key key = of.key;
  key.push_back(residual ? 1 : 0);
  return cache_.get(std::move(key), [&] {
    const auto pd = plan(of.x, of.filter, of.bias, of.y, of.strides, of.before, of.after, residual);
    return Prepared{Forward(pd), pd.scratchpad_desc()};
  });
}

void DirectFilter::run(const Tensor& x, const Tensor& bias, const Tensor& residual, Tensor& out) const {
  const Pictures of = pictures(x.shape(), out.shape());
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, wrap(of.x, x.bytes())},
                                                  {DNNL_ARG_WEIGHTS, packed_.memory()},
                                                  {DNNL_ARG_BIAS, wrap(of.bias, bias.bytes())},
                                                  {DNNL_ARG_DST, wrap(of.y, out.bytes())}};
  if (residual.defined()) {
    arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, wrap(of.y, residual.bytes()));
  }
  prepare_forward(of, residual.defined()).execute(std::move(arguments));
}

void DirectFilter::forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const {
  if (x.dtype() != stored_) {
    Tensor wide = Tensor::empty(out.shape(), stored_);
    forward(to(x, stored_), {in_dtype(plus.residual, stored_), in_dtype(plus.row_bias, stored_)}, wide);
    out = to(wide, out.dtype());
    return;
  }
  if (!plus.row_bias.defined()) return run(x, bias_, plus.residual, out);
  const Tensor row_bias = add(to(plus.row_bias, DType::f32), bias_);  // [N,out]
  for (int64_t n = 0; n < x.shape()[0]; ++n) {
    Tensor one = picture(out, n);
    run(picture(x, n), picture(row_bias, n), plus.residual.defined() ? picture(plus.residual, n) : Tensor(), one);
  }
}

Prepared DirectFilter::prepare_backward(const Pictures& of) const {
  const auto plan_backward = [&](const MemoryDesc& filter) {
    const Forward::primitive_desc hint(
        Forward::desc(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, of.x,
                      MemoryDesc(of.filter.dims(), dnnl_type(stored_), Tag::any), of.y, of.strides, of.before, of.after),
        counted_attributes(), engine());
    return Backward::primitive_desc(
        Backward::desc(dnnl::algorithm::convolution_direct, of.x, filter, of.y, of.strides, of.before, of.after),
        counted_attributes(), engine(), hint);
  };
  std::call_once(turned_once_, [&] {
    const MemoryDesc any(of.filter.dims(), dnnl_type(stored_), Tag::any);
    turned_ = repack(packed_.desc, packed_.data.get(), plan_backward(any).weights_desc());
  });
  PreparedCache::Key key = of.key;
  key.push_back(2);
  return cache_.get(std::move(key), [&] {
    const auto pd = plan_backward(turned_.desc);
    return Prepared{Backward(pd), pd.scratchpad_desc()};
  });
}

void DirectFilter::backward(const Tensor& cotangent, Tensor& d_x) const {
  if (cotangent.dtype() != stored_) {
    Tensor wide = Tensor::empty(d_x.shape(), stored_);
    backward(to(cotangent, stored_), wide);
    d_x = to(wide, d_x.dtype());
    return;
  }
  const Pictures of = pictures(d_x.shape(), cotangent.shape());
  prepare_backward(of).execute({{DNNL_ARG_DIFF_DST, wrap(of.y, cotangent.bytes())},
                                {DNNL_ARG_WEIGHTS, turned_.memory()},
                                {DNNL_ARG_DIFF_SRC, wrap(of.x, d_x.bytes())}});
}

}  // namespace heddle::cpu
