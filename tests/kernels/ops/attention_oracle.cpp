// softmax(scale * q k^T) v with the whole map in memory.
#include "tests/kernels/ops/attention_oracle.h"

#include <cmath>
#include <limits>
#include <sstream>

namespace heddle::testing {
namespace {

struct Map {
  std::vector<double> p;  // [queries,keys] of one head
  std::vector<double> lse;
};

int64_t at(const Array& x, int64_t b, int64_t n, int64_t h) {  // first element of [b,n,h,:]
  return ((b * x.shape[1] + n) * x.shape[2] + h) * x.shape[3];
}

double scale_of(const AttentionCase& test) {
  return test.scale != 0 ? test.scale : 1 / std::sqrt(double(test.dim));
}

double dot(const Array& a, int64_t i, const Array& b, int64_t j, int64_t n) {
  double sum = 0;
  for (int64_t c = 0; c < n; ++c) sum += a[i + c] * b[j + c];
  return sum;
}

double bias(const AttentionCase& test, int64_t b, int64_t h, int64_t i, int64_t j) {
  double sum = test.causal && j > i + test.keys - test.queries ? -std::numeric_limits<double>::infinity() : 0;
  for (const TermArrays& term : test.terms) sum += term.at(b, h, i, j);
  return sum;
}

Map map_of(const AttentionCase& test, const std::vector<Array>& qkv, int64_t b, int64_t h) {
  Map map{std::vector<double>(static_cast<size_t>(test.queries * test.keys), 0.0),
          std::vector<double>(static_cast<size_t>(test.queries), -std::numeric_limits<double>::infinity())};
  for (int64_t i = 0; i < test.queries; ++i) {
    double* row = map.p.data() + i * test.keys;
    double top = -std::numeric_limits<double>::infinity(), total = 0;
    for (int64_t j = 0; j < test.keys; ++j) {
      row[j] = bias(test, b, h, i, j);
      row[j] += scale_of(test) * dot(qkv[0], at(qkv[0], b, i, h), qkv[1], at(qkv[1], b, j, h), test.dim);
      top = std::max(top, row[j]);
    }
    for (int64_t j = 0; j < test.keys; ++j) total += row[j] = std::isinf(row[j]) ? 0 : std::exp(row[j] - top);
    if (total == 0) continue;
    for (int64_t j = 0; j < test.keys; ++j) row[j] /= total;
    map.lse[i] = top + std::log(total);
  }
  return map;
}

Array zeros(const Shape& shape) {
  return {shape, std::vector<double>(static_cast<size_t>(shape.count()), 0.0)};
}

}  // namespace

double TermArrays::at(int64_t b, int64_t h, int64_t i, int64_t j) const {
  const auto place = [](const Shape& shape, int axis, int64_t index) { return shape[axis] > 1 ? index : 0; };
  const int64_t of_class =
      key_class.empty() ? j : key_class[static_cast<size_t>(place(class_shape, 0, b) * class_shape[1] + j)];
  const Shape& s = rows.shape;
  return rows[((place(s, 0, b) * s[1] + place(s, 1, h)) * s[2] + of_class) * s[3] + place(s, 3, i)];
}

Tensor TermArrays::rows_tensor() const {
  return to_tensor(rows, DType::f32);
}

Tensor TermArrays::class_tensor() const {
  return key_class.empty() ? Tensor() : Tensor::from(std::span<const int64_t>(key_class), class_shape);
}

AttentionOptions options_of(const AttentionCase& test) {
  AttentionOptions options{.scale = test.scale, .causal = test.causal};
  for (const TermArrays& term : test.terms) options.terms.push_back({term.class_tensor(), term.rows_tensor()});
  return options;
}

std::string AttentionCase::text() const {
  std::ostringstream out;
  out << "b" << batch << " h" << heads << " q" << queries << " k" << keys << " d" << dim << " dv" << value_dim
      << (causal ? " causal" : "");
  for (const TermArrays& term : terms) out << " rows " << term.rows.shape.text() << " of " << term.class_shape.text();
  return out.str();
}

AttentionArrays attention_forward(const AttentionCase& test, const std::vector<Array>& qkv) {
  AttentionArrays made{zeros({test.batch, test.queries, test.heads, test.value_dim}),
                       zeros({test.batch, test.heads, test.queries})};
  for (int64_t b = 0; b < test.batch; ++b) {
    for (int64_t h = 0; h < test.heads; ++h) {
      const Map map = map_of(test, qkv, b, h);
      for (int64_t i = 0; i < test.queries; ++i) {
        made.lse[(b * test.heads + h) * test.queries + i] = map.lse[i];
        double* out = &made.out[at(made.out, b, i, h)];
        for (int64_t j = 0; j < test.keys; ++j) {
          const double* v = &qkv[2].values[at(qkv[2], b, j, h)];
          for (int64_t c = 0; c < test.value_dim; ++c) out[c] += map.p[i * test.keys + j] * v[c];
        }
      }
    }
  }
  return made;
}

std::vector<Array> attention_backward(const AttentionCase& test, const std::vector<Array>& qkv,
                                      const AttentionArrays& cotangent) {
  const AttentionArrays made = attention_forward(test, qkv);
  std::vector<Array> back{zeros(qkv[0].shape), zeros(qkv[1].shape), zeros(qkv[2].shape)};
  for (int64_t b = 0; b < test.batch; ++b) {
    for (int64_t h = 0; h < test.heads; ++h) {
      const Map map = map_of(test, qkv, b, h);
      for (int64_t i = 0; i < test.queries; ++i) {
        const int64_t qi = at(qkv[0], b, i, h), oi = at(made.out, b, i, h);
        const double shift = dot(cotangent.out, oi, made.out, oi, test.value_dim) -
                             cotangent.lse[(b * test.heads + h) * test.queries + i];
        for (int64_t j = 0; j < test.keys; ++j) {
          const int64_t kj = at(qkv[1], b, j, h), vj = at(qkv[2], b, j, h);
          const double p = map.p[i * test.keys + j];
          const double ds = scale_of(test) * p * (dot(cotangent.out, oi, qkv[2], vj, test.value_dim) - shift);
          for (int64_t c = 0; c < test.value_dim; ++c) back[2][vj + c] += p * cotangent.out[oi + c];
          for (int64_t c = 0; c < test.dim; ++c) back[0][qi + c] += ds * qkv[1][kj + c];
          for (int64_t c = 0; c < test.dim; ++c) back[1][kj + c] += ds * qkv[0][qi + c];
        }
      }
    }
  }
  return back;
}

Array attention_map(const AttentionCase& test, const std::vector<Array>& qkv) {
  Array all = zeros({test.batch, test.heads, test.queries, test.keys});
  for (int64_t problem = 0; problem < test.batch * test.heads; ++problem) {
    const Map map = map_of(test, qkv, problem / test.heads, problem % test.heads);
    std::copy(map.p.begin(), map.p.end(), all.values.begin() + problem * test.queries * test.keys);
  }
  return all;
}

}  // namespace heddle::testing
