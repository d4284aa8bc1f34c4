// Products through oneDNN's matmul primitive: accumulation in f32, bias and residual added before the one rounding.
#include "kernels/cpu/matmul.h"

#include "kernels/ops/view.h"

namespace heddle::cpu {
namespace {

constexpr int64_t usual_rows = 1024;  // the packed layout does not depend on the number of rows

MemoryDesc rows_desc(int64_t rows, int64_t columns, int64_t stride, DType dtype) {
  return MemoryDesc(Dims{rows, columns}, dnnl_type(dtype), Dims{stride, 1});
}

MemoryDesc vector_desc(int64_t columns) {
  return MemoryDesc(Dims{1, columns}, dnnl::memory::data_type::f32, Dims{columns, 1});
}

// Which parts of an epilogue there are.
struct Parts {
  bool bias = false, gelu = false, gate = false, residual = false;
};

dnnl::matmul::primitive_desc plan(const MemoryDesc& x, const MemoryDesc& b, const MemoryDesc& y, const Parts& with) {
  dnnl::primitive_attr attributes = counted_attributes();
  dnnl::post_ops ops;
  if (with.gelu) ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_tanh, 0, 0);
  if (with.gate) ops.append_binary(dnnl::algorithm::binary_mul, vector_desc(y.dims()[1]));
  if (with.residual) ops.append_binary(dnnl::algorithm::binary_add, y);
  attributes.set_post_ops(ops);
  if (!with.bias) return {dnnl::matmul::desc(x, b, y), attributes, engine()};
  return {dnnl::matmul::desc(x, b, vector_desc(y.dims()[1]), y), attributes, engine()};
}

MemoryDesc packed_layout(int64_t k, int64_t n, DType dtype) {
  const MemoryDesc any(Dims{k, n}, dnnl_type(dtype), dnnl::memory::format_tag::any);
  try {
    return plan(rows_desc(usual_rows, k, k, dtype), any, rows_desc(usual_rows, n, n, dtype), {}).weights_desc();
  } catch (const dnnl::error& error) {
    fail(ErrorCode::internal, "onednn", "a matrix product", error.message);
  }
}

MemoryDesc batch_desc(const Tensor& t) {
  const Shape& s = t.shape();
  return MemoryDesc(Dims(s.begin(), s.end()), dnnl_type(t.dtype()), Dims(t.strides().begin(), t.strides().end()));
}

}  // namespace

PackedOperand::PackedOperand(const MemoryDesc& layout, const void* data, DType compute)
    : k_(layout.dims()[0]), n_(layout.dims()[1]), stored_(compute),
      packed_(repack(layout, data, packed_layout(k_, n_, compute))) {}

std::unique_ptr<PackedOperand> PackedOperand::transposed() const {
  return std::make_unique<PackedOperand>(packed_.desc.permute_axes({1, 0}), packed_.data.get(), stored_);
}

std::optional<BlockedMatrix> PackedOperand::blocked() const {
  const auto& layout = packed_.desc.data.format_desc.blocking;
  const bool readable = stored_ == DType::f32 && packed_.desc.data.format_kind == dnnl_blocked && layout.inner_nblks == 2 &&
                        layout.inner_idxs[0] == 0 && layout.inner_idxs[1] == 1 && layout.inner_blks[0] == 16;
  if (!readable) return std::nullopt;
  return BlockedMatrix{reinterpret_cast<const float*>(packed_.data.get()), k_, n_, layout.inner_blks[1], layout.strides[0], layout.strides[1]};
}

void PackedOperand::multiply_into(const Tensor& x, const Epilogue& then, Tensor& y) const {
  const Parts with{then.bias.defined(), then.then == Activation::gelu_tanh, then.gate.defined(), then.residual.defined()};
  const MemoryDesc x_desc = rows_desc(x.shape()[0], k_, x.strides()[0], stored_);
  const MemoryDesc y_desc = rows_desc(x.shape()[0], n_, n_, stored_);
  const PreparedCache::Key key{x.shape()[0], x.strides()[0], with.bias, with.gelu, with.gate, with.residual};
  const Prepared product = cache_.get(key, [&] {
    const auto pd = plan(x_desc, packed_.desc, y_desc, with);
    return Prepared{dnnl::matmul(pd), pd.scratchpad_desc()};
  });
  std::unordered_map<int, dnnl::memory> arguments{
      {DNNL_ARG_SRC, wrap(x_desc, x.bytes())}, {DNNL_ARG_WEIGHTS, packed_.memory()}, {DNNL_ARG_DST, wrap(y_desc, y.bytes())}};
  int post_op = with.gelu ? 1 : 0;
  const auto operand = [&](const MemoryDesc& desc, const Tensor& t) {
    arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(post_op++) | DNNL_ARG_SRC_1, wrap(desc, t.bytes()));
  };
  if (with.bias) arguments.emplace(DNNL_ARG_BIAS, wrap(vector_desc(n_), then.bias.bytes()));
  if (with.gate) operand(vector_desc(n_), then.gate);
  if (with.residual) operand(y_desc, then.residual);
  product.execute(std::move(arguments));
}

Tensor PackedOperand::multiply(const Tensor& x, const Epilogue& then) const {
  if (x.dtype() != stored_) {
    const Tensor residual = then.residual.defined() ? to(then.residual, stored_) : Tensor();
    return to(multiply(to(x, stored_), {then.bias, residual, then.gate, then.then}), x.dtype());
  }
  Tensor y = Tensor::empty({x.shape()[0], n_}, stored_);
  const int64_t groups = then.gate.defined() ? then.gate.dim(0) : 1, rows = x.shape()[0] / groups;
  for (int64_t g = 0; g < groups; ++g) {
    const auto own = [&](const Tensor& t, int64_t rows_of) {
      return t.defined() ? slice(t, 0, g * rows_of, (g + 1) * rows_of) : t;
    };
    Tensor part = own(y, rows);
    multiply_into(own(x, rows), {then.bias, own(then.residual, rows), own(then.gate, 1), then.then}, part);
  }
  return y;
}

void batched_product(const Tensor& a, const Tensor& b, Tensor& c) {
  static PreparedCache* const cache = new PreparedCache;
  PreparedCache::Key key{static_cast<int64_t>(a.dtype())};
  for (const Tensor* t : std::initializer_list<const Tensor*>{&a, &b, &c}) {
    key.insert(key.end(), t->shape().begin(), t->shape().end());
    key.insert(key.end(), t->strides().begin(), t->strides().end());
  }
  const MemoryDesc a_desc = batch_desc(a), b_desc = batch_desc(b), c_desc = batch_desc(c);
  const Prepared product = cache->get(std::move(key), [&] {
    const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(a_desc, b_desc, c_desc), counted_attributes(), engine());
    return Prepared{dnnl::matmul(pd), pd.scratchpad_desc()};
  });
  product.execute({{DNNL_ARG_SRC, wrap(a_desc, a.bytes())},
                   {DNNL_ARG_WEIGHTS, wrap(b_desc, b.bytes())},
                   {DNNL_ARG_DST, wrap(c_desc, c.bytes())}});
}

}  // namespace heddle::cpu

namespace heddle {

PackedMatrix::PackedMatrix(const Tensor& weight, const Tensor& bias, DType compute) {
  const DType stored = cpu::product_dtype(compute);
  const Tensor matrix = to(contiguous(weight), stored);
  const int64_t out = weight.shape()[0], in = weight.shape()[1];
  const cpu::MemoryDesc seen_as_in_out(cpu::Dims{in, out}, cpu::dnnl_type(stored), cpu::Dims{1, in});
  forward_ = std::make_unique<cpu::PackedOperand>(seen_as_in_out, matrix.bytes(), stored);
  if (bias.defined()) bias_ = contiguous(to(bias, DType::f32)).detach();
}

Tensor PackedMatrix::forward(const Tensor& x, cpu::Epilogue then) const {
  then.bias = bias_;
  return forward_->multiply(x, then);
}

Tensor PackedMatrix::backward(const Tensor& cotangent) const {
  if (const auto matrix = forward_->blocked(); matrix && cotangent.dtype() == DType::f32) {
    Tensor d_x = Tensor::empty({cotangent.shape()[0], matrix->k});
    cpu::turned_product(cotangent.data<float>(), cotangent.shape()[0], cotangent.strides()[0], *matrix, d_x.fill_data<float>());
    return d_x;
  }
  std::call_once(backward_packed_, [this] { backward_ = forward_->transposed(); });
  return backward_->multiply(cotangent, {});
}

}  // namespace heddle
