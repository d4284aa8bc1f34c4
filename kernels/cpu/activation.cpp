// Pointwise nonlinearities and their slopes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include "kernels/cpu/activation.h"
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

HWY_INLINE V number(float x) {
  return hn::Set(Floats(), x);
}

// x * sigmoid(s x): silu with s = 1, quick GELU with s = 1.702.
template <int Thousandths>
struct Swish {
  static HWY_INLINE V value(V x) { return hn::Mul(x, gate(x)); }
  static HWY_INLINE V slope(V x) {
    const V g = gate(x), scaled = hn::Mul(x, number(Thousandths / 1000.0f));
    return hn::MulAdd(hn::Mul(g, scaled), hn::Sub(number(1), g), g);
  }
  static HWY_INLINE V gate(V x) { return sigmoid_of(Floats(), hn::Mul(x, number(Thousandths / 1000.0f))); }
};

struct Gelu {
  static HWY_INLINE V value(V x) { return hn::Mul(x, normal_of(Floats(), x).distribution); }
  static HWY_INLINE V slope(V x) {
    const auto n = normal_of(Floats(), x);
    return hn::MulAdd(x, n.density, n.distribution);
  }
};

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which is x * sigmoid of twice the argument.
struct GeluTanh {
  static HWY_INLINE V value(V x) { return hn::Mul(x, gate(x)); }
  static HWY_INLINE V slope(V x) {
    const V g = gate(x);
    const V inner = hn::MulAdd(hn::Mul(x, x), number(3 * 0.044715f * twice_root), number(twice_root));
    return hn::MulAdd(hn::Mul(hn::Mul(g, x), hn::Sub(number(1), g)), inner, g);
  }
  static HWY_INLINE V gate(V x) {
    const V inner = hn::MulAdd(hn::Mul(x, x), number(0.044715f * twice_root), number(twice_root));
    return sigmoid_of(Floats(), hn::Mul(x, inner));
  }
  static constexpr float twice_root = 1.5957691216057308f;  // 2 sqrt(2 / pi)
};

struct Relu {
  static HWY_INLINE V value(V x) { return hn::IfThenElse(hn::Lt(x, number(0)), number(0), x); }  // NaN stays
  static HWY_INLINE V slope(V x) { return hn::IfThenElseZero(hn::Gt(x, number(0)), number(1)); }
};

struct Sigmoid {
  static HWY_INLINE V value(V x) { return sigmoid_of(Floats(), x); }
  static HWY_INLINE V slope(V x) {
    const V s = value(x);
    return hn::Mul(s, hn::Sub(number(1), s));
  }
};

struct Tanh {
  static HWY_INLINE V value(V x) { return tanh_of(Floats(), x); }
  static HWY_INLINE V slope(V x) {
    const V t = value(x);
    return hn::NegMulAdd(t, t, number(1));
  }
};

// x tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2), which has no cancellation. From 20 on it is x in f32.
struct Mish {
  static HWY_INLINE V value(V x) {
    const V e = power(x), n = hn::Mul(e, hn::Add(e, number(2)));
    return hn::Mul(x, hn::Div(n, hn::Add(n, number(2))));
  }
  static HWY_INLINE V slope(V x) {
    const V e = power(x), n = hn::Mul(e, hn::Add(e, number(2)));
    const V share = hn::Div(number(1), hn::Add(n, number(2)));
    const V bend = hn::Mul(hn::Mul(hn::Mul(number(4), share), hn::Mul(e, share)), hn::Add(e, number(1)));
    return hn::IfThenElse(hn::Gt(x, number(20)), number(1), hn::MulAdd(x, bend, hn::Mul(n, share)));
  }
  static HWY_INLINE V power(V x) { return exp_below(Floats(), hn::Min(number(20), x)); }
};

// f.template operator()<Function>() for the function of that kind.
template <class F>
void with_function(Activation kind, const F& f) {
  switch (kind) {
    case Activation::none:
      return;
    case Activation::silu:
      return f.template operator()<Swish<1000>>();
    case Activation::gelu:
      return f.template operator()<Gelu>();
    case Activation::gelu_tanh:
      return f.template operator()<GeluTanh>();
    case Activation::quick_gelu:
      return f.template operator()<Swish<1702>>();
    case Activation::relu:
      return f.template operator()<Relu>();
    case Activation::sigmoid:
      return f.template operator()<Sigmoid>();
    case Activation::tanh:
      return f.template operator()<Tanh>();
    case Activation::mish:
      return f.template operator()<Mish>();
  }
}

template <typename T>
void values(Activation kind, const T* x, T* y, int64_t n) {
  with_function(kind, [&]<class F>() HWY_ATTR {
    for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { store(F::value(load(x + i, part)), y + i, part); });
  });
}

template <typename T>
void slopes(Activation kind, const T* x, const T* d_y, T* d_x, int64_t n) {
  with_function(kind, [&]<class F>() HWY_ATTR {
    for_vectors(n, [&](int64_t i, auto part)
                       HWY_ATTR { store(hn::Mul(load(d_y + i, part), F::slope(load(x + i, part))), d_x + i, part); });
  });
}

// One row: x holds 2n, y n.
template <typename T>
void gate(const T* x, T* y, int64_t n) {
  for_vectors(n, [&](int64_t i, auto part)
                     HWY_ATTR { store(hn::Mul(load(x + i, part), Gelu::value(load(x + n + i, part))), y + i, part); });
}

template <typename T>
void gate_slopes(const T* x, const T* d_y, T* d_x, int64_t n) {
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR {
    const V value = load(x + i, part), gated = load(x + n + i, part), d = load(d_y + i, part);
    const auto normal = normal_of(Floats(), gated);
    store(hn::Mul(d, hn::Mul(gated, normal.distribution)), d_x + i, part);
    store(hn::Mul(hn::Mul(d, value), hn::MulAdd(gated, normal.density, normal.distribution)), d_x + n + i, part);
  });
}

// Rows [begin, end) of the op; d_y undefined: forward.
void pointwise(Activation kind, const Tensor& x, const Tensor& d_y, Tensor& out, int64_t begin, int64_t end) {
  with_float_type(x.dtype(), "activate", [&]<typename T>() HWY_ATTR {
    const T* in = x.data<T>() + begin;
    T* to = out.fill_data<T>() + begin;
    if (d_y.defined()) return slopes(kind, in, d_y.data<T>() + begin, to, end - begin);
    values(kind, in, to, end - begin);
  });
}

void gated(const Tensor& x, const Tensor& d_y, Tensor& out, int64_t begin, int64_t end) {
  const int64_t n = x.dim(1) / 2;
  with_float_type(x.dtype(), "geglu", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const T* in = x.data<T>() + i * 2 * n;
      if (d_y.defined()) {
        gate_slopes(in, d_y.data<T>() + i * n, out.fill_data<T>() + i * 2 * n, n);
      } else {
        gate(in, out.fill_data<T>() + i * n, n);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(pointwise);
HWY_EXPORT(gated);

Tensor run_pointwise(Activation kind, const Tensor& x, const Tensor& d_y) {
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(pointwise);
  for_pieces(x.count(), 1, [&](int64_t begin, int64_t end) { run(kind, x, d_y, out, begin, end); });
  return out;
}

Tensor run_gated(const Tensor& x, const Tensor& d_y, int64_t columns) {
  Tensor out = Tensor::empty({x.dim(0), columns}, x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(gated);
  for_pieces(x.dim(0), x.dim(1), [&](int64_t begin, int64_t end) { run(x, d_y, out, begin, end); });
  return out;
}
}  // namespace

Tensor activation_forward(const Tensor& x, Activation kind) {
  return run_pointwise(kind, x, {});
}
Tensor activation_backward(const Tensor& x, const Tensor& d_y, Activation kind) {
  return run_pointwise(kind, x, d_y);
}
Tensor geglu_forward(const Tensor& x) {
  return run_gated(x, {}, x.dim(1) / 2);
}
Tensor geglu_backward(const Tensor& x, const Tensor& d_y) {
  return run_gated(x, d_y, x.dim(1));
}

}  // namespace heddle::cpu
#endif
