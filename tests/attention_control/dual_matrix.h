// Matrices of doubles or of dual numbers, and attention written down on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace heddle::testing {

// value + derivative along one direction
struct Dual {
  double v = 0, d = 0;
  Dual(double value = 0, double derivative = 0) : v(value), d(derivative) {}
  Dual operator+(Dual o) const { return {v + o.v, d + o.d}; }
  Dual operator-(Dual o) const { return {v - o.v, d - o.d}; }
  Dual operator*(Dual o) const { return {v * o.v, d * o.v + v * o.d}; }
  Dual operator/(Dual o) const { return {v / o.v, (d * o.v - v * o.d) / (o.v * o.v)}; }
};
inline Dual exp(Dual x) {
  return {std::exp(x.v), std::exp(x.v) * x.d};
}
inline Dual log(Dual x) {
  return {std::log(x.v), x.d / x.v};
}
inline double value(double x) {
  return x;
}
inline double value(Dual x) {
  return x.v;
}

template <typename T>
struct Matrix {
  size_t rows = 0, columns = 0;
  std::vector<T> values;
  Matrix(size_t r, size_t c) : rows(r), columns(c), values(r * c) {}
  T& operator()(size_t i, size_t j) { return values[i * columns + j]; }
  const T& operator()(size_t i, size_t j) const { return values[i * columns + j]; }
};
using Constants = Matrix<double>;

template <typename T>
Matrix<T> product(const Matrix<T>& a, const Matrix<T>& b) {
  Matrix<T> out(a.rows, b.columns);
  for (size_t i = 0; i < a.rows; ++i) {
    for (size_t j = 0; j < b.columns; ++j) {
      T sum = 0;
      for (size_t n = 0; n < a.columns; ++n) sum = sum + a(i, n) * b(n, j);
      out(i, j) = sum;
    }
  }
  return out;
}

template <typename T>
Matrix<T> times(const Constants& m, const Matrix<T>& x) {
  Matrix<T> constant(m.rows, m.columns);
  for (size_t i = 0; i < m.values.size(); ++i) constant.values[i] = m.values[i];
  return product(constant, x);
}

// f(value, row, column) for each element
template <typename T, typename F>
Matrix<T> each(Matrix<T> x, F f) {
  for (size_t i = 0; i < x.rows; ++i) {
    for (size_t j = 0; j < x.columns; ++j) x(i, j) = f(x(i, j), i, j);
  }
  return x;
}

template <typename T>
Matrix<T> scores(const Matrix<T>& q, const Matrix<T>& k, double tau = 1) {
  Matrix<T> out(q.rows, k.rows);
  for (size_t i = 0; i < q.rows; ++i) {
    for (size_t j = 0; j < k.rows; ++j) {
      T sum = 0;
      for (size_t c = 0; c < q.columns; ++c) sum = sum + q(i, c) * k(j, c);
      out(i, j) = sum * T(1 / (std::sqrt(static_cast<double>(q.columns)) * tau));
    }
  }
  return out;
}

template <typename T>
Matrix<T> log_sum_exp(const Matrix<T>& s) {
  using std::exp, std::log;
  Matrix<T> out(s.rows, 1);
  for (size_t i = 0; i < s.rows; ++i) {
    double top = -1e30;
    for (size_t j = 0; j < s.columns; ++j) top = std::max(top, value(s(i, j)));
    T sum = 0;
    for (size_t j = 0; j < s.columns; ++j) sum = sum + exp(s(i, j) - T(top));
    out(i, 0) = log(sum) + T(top);
  }
  return out;
}

// exp(s - lse)
template <typename T>
Matrix<T> map_of(const Matrix<T>& s, const Matrix<T>& lse) {
  using std::exp;
  return each(s, [&](T x, size_t i, size_t) { return exp(x - lse(i, 0)); });
}

template <typename T>
Matrix<T> softmax(const Matrix<T>& s) {
  return map_of(s, log_sum_exp(s));
}

template <typename T>
Matrix<T> sum(const Matrix<T>& a, const Matrix<T>& b) {
  return each(a, [&](T x, size_t i, size_t j) { return x + b(i, j); });
}

// a's rows, then b's (or columns)
template <typename T>
Matrix<T> below(const Matrix<T>& a, const Matrix<T>& b) {
  Matrix<T> out(a.rows + b.rows, a.columns);
  std::ranges::copy(a.values, out.values.begin());
  std::ranges::copy(b.values, out.values.begin() + static_cast<std::ptrdiff_t>(a.values.size()));
  return out;
}
template <typename T>
Matrix<T> beside(const Matrix<T>& a, const Matrix<T>& b) {
  Matrix<T> out(a.rows, a.columns + b.columns);
  return each(out, [&](T, size_t i, size_t j) { return j < a.columns ? a(i, j) : b(i, j - a.columns); });
}

// Two partial results as one: weights exp(lse_s - lse).
template <typename T>
Matrix<T> merged(const Matrix<T>& a, const Matrix<T>& lse_a, const Matrix<T>& b, const Matrix<T>& lse_b) {
  const Matrix<T> weights = softmax(beside(lse_a, lse_b));
  return each(a, [&](T x, size_t i, size_t j) { return weights(i, 0) * x + weights(i, 1) * b(i, j); });
}

}  // namespace heddle::testing
