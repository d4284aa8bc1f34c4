// The algebra on which the verbs rest, each identity in double precision: the values of both sides, the exact
// derivative of the verb's side (dual numbers) against differences of the other, and the engine's own result and
// gradient in f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/core/tape.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/view.h"
#include "tests/attention_control/dual_matrix.h"
#include "tests/attention_control/small_run.h"

namespace heddle {
namespace {

using testing::below, testing::beside, testing::Constants, testing::Dual, testing::each, testing::log_sum_exp;
using testing::map_of, testing::Matrix, testing::merged, testing::product, testing::scores, testing::softmax;
using testing::sum, testing::times;

constexpr size_t queries = 6, keys = 5, width = 4;

// q, k, v of the source lane and of the target lane.
template <typename T>
struct Inputs {
  std::array<Matrix<T>, 6> all{Matrix<T>(queries, width), Matrix<T>(keys, width), Matrix<T>(keys, width),
                               Matrix<T>(queries, width), Matrix<T>(keys, width), Matrix<T>(keys, width)};
  const Matrix<T>&qs = all[0], &ks = all[1], &vs = all[2], &q = all[3], &k = all[4], &v = all[5];
};

std::mt19937_64 generator(99);
Constants random_matrix(size_t rows, size_t columns) {
  std::normal_distribution<double> normal;
  return each(Constants(rows, columns),
              [&](double, size_t, size_t) { return static_cast<double>(static_cast<float>(normal(generator))); });
}

Tensor tensor_of(const Constants& m, const Shape& shape) {
  std::vector<float> values(m.values.begin(), m.values.end());
  return Tensor::from(std::span<const float>(values), shape);
}

// The run of the engine: two members, one lane each, one head.
RunShape two_lanes() {
  RunShape run;
  run.sites = {{.name = "cross", .kind = AttentionKind::cross, .depth = 0, .heads = 1, .head_dim = width}};
  run.tokens = {{{{.name = "image", .height = 2, .width = 3}}, {{.name = "text", .width = keys}}}};
  run.members = {{.name = "source", .words = {}}, {.name = "target", .words = {}}};
  run.guided = false;
  return run;
}

using Declare = std::function<void(const SiteScope&)>;

// Rows of the target lane: the output [queries, width], or the captured columns.
struct Engine {
  Constants result{0, 0};
  double derivative = 0;  // of sum(result * cotangent) along the direction
};

Engine engine(const Declare& declare, const Inputs<double>& x, const std::array<Constants, 6>& direction,
              const Constants& cotangent, bool columns) {
  PlanBuilder builder(two_lanes());
  builder.speaks("identity", "", "");
  declare(testing::site_at(builder, 0).member(1));
  const CompiledPlan plan = compile(builder);
  Captures captures;
  AttentionContext context{
      .moment = {}, .lanes = testing::lanes_of(plan.run(), {Branch::cond}, 1), .plan = &plan, .captures = &captures};
  Tape tape;
  std::vector<Tensor> watched;
  for (const Constants& m : x.all)
    watched.push_back(tape.watch(tensor_of(m, {1, static_cast<int64_t>(m.rows), 1, static_cast<int64_t>(width)})));
  const auto both = [&](size_t i) { return concat({watched[i], watched[i + 3]}, 0); };
  const Tensor out = attend(plan.run().sites[0], plan.run().tokens[0], both(0), both(1), both(2), context);
  const Tensor y = columns ? captures.at("looks").at(0).values : slice(out, 0, 1, 2);
  Engine done;
  done.result = Constants(queries, cotangent.columns);
  const std::vector<float> values = y.to_vector();
  std::ranges::copy(values, done.result.values.begin());
  const std::vector<Tensor> ys{y}, cotangents{tensor_of(cotangent, y.shape())};
  const std::vector<Tensor> gradients = tape.gradients(ys, cotangents, watched);
  for (size_t i = 0; i < 6; ++i) {
    const std::vector<float> g = gradients[i].to_vector();
    for (size_t n = 0; n < g.size(); ++n) done.derivative += static_cast<double>(g[n]) * direction[i].values[n];
  }
  return done;
}

template <typename T>
T weighed_sum(const Matrix<T>& x, const Constants& cotangent) {
  T total = 0;
  for (size_t i = 0; i < x.values.size(); ++i) total = total + x.values[i] * T(cotangent.values[i]);
  return total;
}

// `direct` and `verb` are generic over the scalar; `declare` is how a method asks for it.
template <typename Direct, typename VerbSide>
void check(const Direct& direct, const VerbSide& verb, const Declare& declare, bool columns = false) {
  Inputs<double> x;
  std::array<Constants, 6> direction{Constants(0, 0), Constants(0, 0), Constants(0, 0),
                                     Constants(0, 0), Constants(0, 0), Constants(0, 0)};
  for (size_t i = 0; i < 6; ++i) {
    x.all[i] = random_matrix(x.all[i].rows, width);
    direction[i] = random_matrix(x.all[i].rows, width);
  }
  const Constants expected = direct(x), got = verb(x);
  ASSERT_EQ(expected.values.size(), got.values.size());
  for (size_t i = 0; i < got.values.size(); ++i)
    EXPECT_NEAR(got.values[i], expected.values[i], 2e-15 * std::max(1.0, std::fabs(expected.values[i]))) << i;

  const Constants cotangent = random_matrix(expected.rows, expected.columns);
  const auto moved = [&](double step) {
    Inputs<double> y;
    for (size_t i = 0; i < 6; ++i)
      y.all[i] = each(x.all[i], [&](double v, size_t r, size_t c) { return v + step * direction[i](r, c); });
    return weighed_sum(direct(y), cotangent);
  };
  Inputs<Dual> along;
  for (size_t i = 0; i < 6; ++i) {
    for (size_t n = 0; n < x.all[i].values.size(); ++n)
      along.all[i].values[n] = {x.all[i].values[n], direction[i].values[n]};
  }
  // Fourth-order central differences.
  const double h = 1e-3;
  const double differences = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
  const double exact = weighed_sum(verb(along), cotangent).d;
  EXPECT_NEAR(exact, differences, 2e-9 * std::max(1.0, std::fabs(exact)));

  const Engine f32 = engine(declare, x, direction, cotangent, columns);
  ASSERT_EQ(f32.result.values.size(), expected.values.size());
  for (size_t i = 0; i < expected.values.size(); ++i)
    EXPECT_NEAR(f32.result.values[i], expected.values[i], 4e-6 * std::max(1.0, std::fabs(expected.values[i]))) << i;
  EXPECT_NEAR(f32.derivative, exact, 2e-5 * std::max(1.0, std::fabs(exact)));
}

const LaneRef source{.branch = {}, .member = 0};

ShapeFn mapped(const Constants& m) {
  const Tensor matrix = tensor_of(m, {keys, keys});
  return {.text = "mapped", .apply = [matrix](const Tensor& v, const LaneTensors&) {
            return reshape(matmul(matrix, reshape(v, {keys, width})), v.shape());
          }};
}

Constants positive(size_t rows, size_t columns) {
  return each(random_matrix(rows, columns),
              [](double v, size_t, size_t) { return static_cast<double>(std::exp(static_cast<float>(v))); });
}

TEST(Identities, ReplacedMapIsTakenQueriesAndKeysWithMappedValues) {
  const Constants m = random_matrix(keys, keys);
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    Matrix<T> map(keys, keys);
    for (size_t i = 0; i < m.values.size(); ++i) map.values[i] = m.values[i];
    return product(product(softmax(scores(x.qs, x.ks)), map), x.v);
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) { return product(softmax(scores(x.qs, x.ks)), times(m, x.v)); };
  check(direct, verb, [&](const SiteScope& site) {
    site.declare(Take{Role::q, source, {}});
    site.declare(Take{Role::k, source, {}});
    site.declare(Shaping{Role::v, mapped(m)});
  });
}

TEST(Identities, RefinedMapIsTwoBranchesWithGains) {
  const std::vector<size_t> from{0, 2, 2, 4, 1};  // each key's column in the source
  const Constants alpha = each(positive(1, keys), [](double v, size_t, size_t) { return v / (1 + v); });
  Constants m(keys, keys);  // P_src[:, from] alpha = P_src m
  for (size_t j = 0; j < keys; ++j) m(from[j], j) = alpha(0, j);
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> theirs = softmax(scores(x.qs, x.ks));
    const Matrix<T> map = each(softmax(scores(x.q, x.k)), [&](T p, size_t i, size_t j) {
      return theirs(i, from[j]) * T(alpha(0, j)) + p * T(1 - alpha(0, j));
    });
    return product(map, x.v);
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> gained = each(x.v, [&](T v, size_t j, size_t) { return v * T(1 - alpha(0, j)); });
    return sum(product(softmax(scores(x.qs, x.ks)), times(m, x.v)), product(softmax(scores(x.q, x.k)), gained));
  };
  const Constants rest = each(alpha, [](double a, size_t, size_t) { return 1 - a; });
  check(direct, verb, [&](const SiteScope& site) {
    site.declare(Gain{"own share", tensor_of(rest, {keys})});
    site.declare(AddBranch{.name = "source", .weight = 1});
    site.on("source").declare(Take{Role::q, source, {}});
    site.on("source").declare(Take{Role::k, source, {}});
    site.on("source").declare(Shaping{Role::v, mapped(m)});
  });
}

TEST(Identities, ReweightedMapIsAGainOfValues) {
  const Constants c = positive(1, keys);
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    return product(each(softmax(scores(x.q, x.k)), [&](T p, size_t, size_t j) { return p * T(c(0, j)); }), x.v);
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    return product(softmax(scores(x.q, x.k)), each(x.v, [&](T v, size_t j, size_t) { return v * T(c(0, j)); }));
  };
  check(direct, verb, [&](const SiteScope& site) { site.declare(Gain{"words", tensor_of(c, {keys})}); });
}

TEST(Identities, RenormalisedReweightIsALogBias) {
  const Constants c = positive(1, keys);
  const Constants bias =
      each(c, [](double v, size_t, size_t) { return static_cast<double>(static_cast<float>(std::log(v))); });
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> p =
        each(softmax(scores(x.q, x.k)), [&](T v, size_t, size_t j) { return v * T(std::exp(bias(0, j))); });
    return product(each(p,
                        [&](T v, size_t i, size_t) {
                          T total = 0;
                          for (size_t n = 0; n < keys; ++n) total = total + p(i, n);
                          return v / total;
                        }),
                   x.v);
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    return product(softmax(each(scores(x.q, x.k), [&](T s, size_t, size_t j) { return s + T(bias(0, j)); })), x.v);
  };
  check(direct, verb, [&](const SiteScope& site) {
    site.declare(AddScore{{.text = "log weights", .form = Column{tensor_of(bias, {1, keys})}}});
  });
}

TEST(Identities, JoinedKeysMergeByLogSumExp) {
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    return product(softmax(scores(x.q, below(x.k, x.ks))), below(x.v, x.vs));
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> own = scores(x.q, x.k), theirs = scores(x.q, x.ks);
    return merged(product(softmax(own), x.v), log_sum_exp(own), product(softmax(theirs), x.vs), log_sum_exp(theirs));
  };
  check(direct, verb,
        [](const SiteScope& site) { site.declare(Extend{.text = "source", .lane = source, .terms = {}}); });
}

TEST(Identities, ColumnsComeFromTheMergedLogSumExp) {
  const std::vector<size_t> asked{3, 0};
  const auto pick = [&]<typename T>(const Matrix<T>& map) {
    return each(Matrix<T>(queries, asked.size()), [&](T, size_t i, size_t j) { return map(i, asked[j]); });
  };
  const auto direct = [&]<typename T>(const Inputs<T>& x) { return pick(softmax(scores(x.q, below(x.k, x.ks)))); };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> lse = log_sum_exp(beside(log_sum_exp(scores(x.q, x.k)), log_sum_exp(scores(x.q, x.ks))));
    return pick(map_of(scores(x.q, x.k), lse));
  };
  check(
      direct, verb,
      [](const SiteScope& site) {
        site.declare(Extend{.text = "source", .lane = source, .terms = {}});
        site.declare(Capture{.name = "looks", .keys = {3, 0}});
      },
      true);
}

// DiTCtrl's reweighting of a few words for a few queries, without the map.
TEST(Identities, TokenReweightIsACorrectionOverFewColumnsAndRows) {
  const std::vector<size_t> rows{1, 4}, columns{0, 3};
  const double gain = 2.5;
  const auto in = [](const std::vector<size_t>& set, size_t i) { return std::ranges::find(set, i) != set.end(); };
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    return product(each(softmax(scores(x.q, x.k)),
                        [&](T p, size_t i, size_t j) { return in(rows, i) && in(columns, j) ? p * T(gain) : p; }),
                   x.v);
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> s = scores(x.q, x.k), lse = log_sum_exp(s), p = map_of(s, lse);
    Matrix<T> out = product(p, x.v);
    for (const size_t i : rows) {
      for (const size_t j : columns) {
        for (size_t c = 0; c < width; ++c) out(i, c) = out(i, c) + T(gain - 1) * p(i, j) * x.v(j, c);
      }
    }
    return out;
  };
  check(direct, verb, [&](const SiteScope& site) {
    const Constants of_keys =
        each(Constants(1, keys), [&](double, size_t, size_t j) { return in(columns, j) ? gain - 1 : 0; });
    const Constants of_rows =
        each(Constants(1, queries), [&](double, size_t, size_t i) { return in(rows, i) ? 1.0 : 0.0; });
    site.declare(AddBranch{.name = "more", .weight = 1});
    site.on("more").declare(Gain{"these words", tensor_of(of_keys, {keys})});
    site.on("more").declare(
        Weigh{.text = "these queries",
              .constant = 1,
              .at_run_time = [w = tensor_of(of_rows, {1, queries})](const TermPlace&) { return w; }});
  });
}

// extend + mask + temper + gain + columns at one site.
struct Composition {
  double tau = 0.6, log_gain = 0.4;
  Constants gain = positive(1, keys);
  static bool hidden(size_t i, size_t j) { return (i < 3) == (j == 1 || j == 2); }

  template <typename T>
  Matrix<T> own(const Inputs<T>& x) const {
    return each(scores(x.q, x.k, tau), [](T s, size_t i, size_t j) { return hidden(i, j) ? T(-1e30) : s; });
  }
  template <typename T>
  Matrix<T> theirs(const Inputs<T>& x) const {
    return each(scores(x.q, x.ks, tau), [&](T s, size_t, size_t) { return s + T(log_gain); });
  }
  template <typename T>
  Matrix<T> values(const Inputs<T>& x) const {
    return each(x.v, [&](T v, size_t j, size_t) { return v * T(gain(0, j)); });
  }
  void declare(const SiteScope& site) const {
    const std::vector<int64_t> query{0, 0, 0, 1, 1, 1}, key{0, 1, 1, 0, 0};
    const float never = -std::numeric_limits<float>::infinity();
    const std::vector<float> table{0, never, never, 0};
    site.declare(Extend{.text = "source", .lane = source, .log_gain = log_gain, .key_scale = 1, .terms = {}});
    site.declare(AddScore{{.text = "mask",
                           .form = Labels{Tensor::from(std::span<const int64_t>(query), {1, queries}),
                                          Tensor::from(std::span<const int64_t>(key), {1, keys}),
                                          Tensor::from(std::span<const float>(table), {2, 2})}}});
    site.declare(Temper{.tau = tau, .query = {}, .key = {}});
    site.declare(Gain{"gain", tensor_of(gain, {keys})});
    site.declare(Capture{.name = "looks", .keys = {0, 1, 4}});
  }
};

TEST(Identities, ComposedVerbsKeepTheirOutput) {
  const Composition c;
  const auto direct = [&]<typename T>(const Inputs<T>& x) {
    return product(softmax(beside(c.own(x), c.theirs(x))), below(c.values(x), x.vs));
  };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> own = c.own(x), theirs = c.theirs(x);
    return merged(product(softmax(own), c.values(x)), log_sum_exp(own), product(softmax(theirs), x.vs),
                  log_sum_exp(theirs));
  };
  check(direct, verb, [&](const SiteScope& site) { c.declare(site); });
}

TEST(Identities, ComposedVerbsKeepTheirColumns) {
  const Composition c;
  const std::vector<size_t> asked{0, 1, 4};
  const auto pick = [&]<typename T>(const Matrix<T>& map) {
    return each(Matrix<T>(queries, asked.size()), [&](T, size_t i, size_t j) { return map(i, asked[j]); });
  };
  const auto direct = [&]<typename T>(const Inputs<T>& x) { return pick(softmax(beside(c.own(x), c.theirs(x)))); };
  const auto verb = [&]<typename T>(const Inputs<T>& x) {
    const Matrix<T> lse = log_sum_exp(beside(log_sum_exp(c.own(x)), log_sum_exp(c.theirs(x))));
    return pick(map_of(c.own(x), lse));
  };
  check(
      direct, verb, [&](const SiteScope& site) { c.declare(site); }, true);
}

// dS = P (dP - rowsum(dO O) + dLSE), and the same from a kernel that hides the row sum: one more channel of V that is
// 0, -1 there in out, dLSE there in dOut.
TEST(Identities, OneZeroChannelCarriesTheGradientOfLogSumExp) {
  const Constants q = random_matrix(queries, width), k = random_matrix(keys, width), v = random_matrix(keys, width);
  const Constants d_out = random_matrix(queries, width), d_lse = random_matrix(queries, 1),
                  ds = random_matrix(queries, keys);
  const Constants s = scores(q, k), p = softmax(s), out = product(p, v);
  const auto backward = [&](const Constants& out_, const Constants& d_out_, const Constants& v_, const Constants* lse) {
    return each(p, [&](double probability, size_t i, size_t j) {
      double d = 0, dp = 0;
      for (size_t c = 0; c < out_.columns; ++c) d += d_out_(i, c) * out_(i, c), dp += d_out_(i, c) * v_(j, c);
      return probability * (dp - d + (lse != nullptr ? (*lse)(i, 0) : 0));
    });
  };
  const Constants plain = backward(out, d_out, v, &d_lse);
  const Constants minus_one = each(Constants(queries, 1), [](double, size_t, size_t) { return -1.0; });
  const Constants hidden =
      backward(beside(out, minus_one), beside(d_out, d_lse), beside(v, Constants(keys, 1)), nullptr);
  for (size_t i = 0; i < plain.values.size(); ++i) EXPECT_NEAR(hidden.values[i], plain.values[i], 2e-15);
  // Against differences along a direction of the scores.
  const auto loss = [&](double h) {
    const Constants moved = each(s, [&](double x, size_t i, size_t j) { return x + h * ds(i, j); });
    return weighed_sum(product(softmax(moved), v), d_out) + weighed_sum(log_sum_exp(moved), d_lse);
  };
  const double h = 1e-3;
  EXPECT_NEAR(weighed_sum(plain, ds), (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h), 2e-9);
}

}  // namespace
}  // namespace heddle
