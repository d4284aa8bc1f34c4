// Group normalisation of channels-last maps in two streaming passes, each in full rows of channels: sums per channel,
// then the affine map with SiLU. Sums are of x - pivot, the channel's first value, in f32 over short runs and in double
// beyond, so a mean that is large against the deviation costs no digits.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/group_norm.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <cmath>
#include <optional>
#include <vector>

#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/norm.h"

#ifndef HEDDLE_GROUP_NORM_JOB
#define HEDDLE_GROUP_NORM_JOB
namespace heddle::cpu {
namespace {

constexpr int64_t stretches = 16;  // pieces of a row's positions, whatever the threads
constexpr int64_t short_run = 32;  // positions summed in f32

// Values per channel of one row n: y = silu?((x - mean) * slope + offset), slope = gamma / deviation.
struct ChannelMaps {
  std::vector<float> mean, slope, offset;
};

struct GroupNormJob {
  const GroupNormCall& call;
  int64_t rows, length, channels, width;  // width: channels of a group
  bool silu;
  explicit GroupNormJob(const GroupNormCall& call)
      : call(call),
        rows(call.x.dim(0)),
        length(call.x.dim(1)),
        channels(call.x.dim(2)),
        width(channels / call.options.groups),
        silu(call.options.then == Activation::silu) {}
  int64_t begin(int64_t stretch) const { return length * stretch / stretches; }
  int64_t at(int64_t n, int64_t position) const { return (n * length + position) * channels; }
  int64_t other(int64_t n) const { return call.pooled_with.empty() ? n : call.pooled_with[static_cast<size_t>(n)]; }
  bool worth_threads() const { return call.x.count() > 32768; }
};

// dx = g - level[c] - (x - mean) * along[c].
struct Corrections {
  std::vector<float> level, along;
};

// Two sums per channel of one stretch.
struct StretchSums {
  std::vector<double> first, second;
};

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

HWY_INLINE void add_to(float* sum, V value, Whole part) {
  store(hn::Add(load(sum, part), value), sum, part);
}
HWY_INLINE void add_to(float* sum, V value, Part part) {
  store(hn::Add(load(sum, part), value), sum, part);
}

// row(position, first, second) adds a position to the f32 sums; they are moved to double after each short run.
template <class Row>
HWY_INLINE void sum_stretch(const GroupNormJob& job, int64_t stretch, StretchSums& sums, const Row& row) {
  std::vector<float> runs(static_cast<size_t>(2 * job.channels));
  for (int64_t begin = job.begin(stretch); begin < job.begin(stretch + 1); begin += short_run) {
    std::fill(runs.begin(), runs.end(), 0.0f);
    const int64_t end = std::min(begin + short_run, job.begin(stretch + 1));
    for (int64_t i = begin; i < end; ++i) row(i, runs.data(), runs.data() + job.channels);
    for (int64_t c = 0; c < job.channels; ++c) {
      sums.first[c] += runs[c];
      sums.second[c] += runs[job.channels + c];
    }
  }
}

// Sums of x - pivot and of its square.
void moments(const GroupNormJob& job, const float* pivot, int64_t n, int64_t stretch, StretchSums& sums) {
  with_float_type(job.call.x.dtype(), "group_norm", [&]<typename T>() HWY_ATTR {
    const T* x = job.call.x.data<T>();
    sum_stretch(job, stretch, sums, [&](int64_t position, float* first, float* second) HWY_ATTR {
      const T* in = x + job.at(n, position);
      for_vectors(job.channels, [&](int64_t c, auto part) HWY_ATTR {
        const V d = hn::Sub(load(in + c, part), load(pivot + c, part));
        add_to(first + c, d, part);
        add_to(second + c, hn::Mul(d, d), part);
      });
    });
  });
}

template <bool silu, typename T>
void map_row(const ChannelMaps& maps, const T* x, int64_t channels, T* y) {
  const Floats d;
  for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR {
    const V centred = hn::Sub(load(x + c, part), load(maps.mean.data() + c, part));
    V u = hn::MulAdd(centred, load(maps.slope.data() + c, part), load(maps.offset.data() + c, part));
    if constexpr (silu) u = hn::Mul(u, sigmoid_of(d, u));
    store(u, y + c, part);
  });
}

void map_stretch(const GroupNormJob& job, const ChannelMaps& maps, int64_t n, int64_t stretch, Tensor& y) {
  with_float_type(y.dtype(), "group_norm", [&]<typename T>() HWY_ATTR {
    for (int64_t i = job.begin(stretch); i < job.begin(stretch + 1); ++i) {
      const T* in = job.call.x.data<T>() + job.at(n, i);
      T* out = y.fill_data<T>() + job.at(n, i);
      job.silu ? map_row<true>(maps, in, job.channels, out) : map_row<false>(maps, in, job.channels, out);
    }
  });
}

// The cotangent of (x - mean) * slope + offset, times slope: what flows to x when mean and deviation are held fixed.
template <typename T, class Size>
HWY_INLINE V through_map(const ChannelMaps& maps, bool silu, V centred, const T* d_y, int64_t c, Size part) {
  const Floats d;
  const V slope = load(maps.slope.data() + c, part);
  V g = hn::Mul(load(d_y, part), slope);
  if (silu) {
    const V u = hn::MulAdd(centred, slope, load(maps.offset.data() + c, part));
    const V s = sigmoid_of(d, u);
    g = hn::Mul(g, hn::MulAdd(hn::Mul(u, s), hn::Sub(hn::Set(d, 1.0f), s), s));
  }
  return g;
}

// Sums of that cotangent and of its product with x - mean.
void cotangent_moments(const GroupNormJob& job, const ChannelMaps& maps, const Tensor& d_y, int64_t n, int64_t stretch,
                       StretchSums& sums) {
  with_float_type(d_y.dtype(), "group_norm", [&]<typename T>() HWY_ATTR {
    sum_stretch(job, stretch, sums, [&](int64_t position, float* first, float* second) HWY_ATTR {
      const T* in = job.call.x.data<T>() + job.at(n, position);
      const T* back = d_y.data<T>() + job.at(n, position);
      for_vectors(job.channels, [&](int64_t c, auto part) HWY_ATTR {
        const V centred = hn::Sub(load(in + c, part), load(maps.mean.data() + c, part));
        const V g = through_map(maps, job.silu, centred, back + c, c, part);
        add_to(first + c, g, part);
        add_to(second + c, hn::Mul(g, centred), part);
      });
    });
  });
}

void map_back(const GroupNormJob& job, const ChannelMaps& maps, const Corrections& less, const Tensor& d_y, int64_t n,
              int64_t stretch, Tensor& d_x) {
  with_float_type(d_y.dtype(), "group_norm", [&]<typename T>() HWY_ATTR {
    for (int64_t i = job.begin(stretch); i < job.begin(stretch + 1); ++i) {
      const T* in = job.call.x.data<T>() + job.at(n, i);
      const T* back = d_y.data<T>() + job.at(n, i);
      T* out = d_x.fill_data<T>() + job.at(n, i);
      for_vectors(job.channels, [&](int64_t c, auto part) HWY_ATTR {
        const V centred = hn::Sub(load(in + c, part), load(maps.mean.data() + c, part));
        const V g = through_map(maps, job.silu, centred, back + c, c, part);
        store(hn::NegMulAdd(centred, load(less.along.data() + c, part), hn::Sub(g, load(less.level.data() + c, part))),
              out + c, part);
      });
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
HWY_EXPORT(moments);
HWY_EXPORT(map_stretch);
HWY_EXPORT(cotangent_moments);
HWY_EXPORT(map_back);

std::vector<float> first_position(const GroupNormJob& job, int64_t n) {
  const Shape row{job.channels};
  return job.call.x.view(row, row_major_strides(row), job.at(n, 0)).to_vector();
}

// f(stretch, sums) over all stretches of a row; then their sum in order.
template <class F>
StretchSums sum_stretches(const GroupNormJob& job, const F& f) {
  const std::vector<double> zeros(static_cast<size_t>(job.channels), 0.0);
  std::vector<StretchSums> parts(stretches, {zeros, zeros});
#pragma omp parallel for schedule(static) if (job.worth_threads())
  for (int64_t i = 0; i < stretches; ++i) f(i, parts[i]);
  for (int64_t i = 1; i < stretches; ++i) {
    for (int64_t c = 0; c < job.channels; ++c) {
      parts[0].first[c] += parts[i].first[c];
      parts[0].second[c] += parts[i].second[c];
    }
  }
  return parts[0];
}

template <class F>
void for_stretches(const GroupNormJob& job, const F& f) {
#pragma omp parallel for schedule(static) if (job.worth_threads())
  for (int64_t i = 0; i < stretches; ++i) f(i);
}

// Of a group in one row.
struct GroupMoments {
  double mean = 0, variance = 0;
};

// Of each group from its channels' sums.
std::vector<GroupMoments> group_moments(const GroupNormJob& job, const std::vector<float>& pivot,
                                        const StretchSums& sums) {
  std::vector<GroupMoments> out;
  const double length = static_cast<double>(job.length), count = length * static_cast<double>(job.width);
  for (int64_t g = 0; g < job.call.options.groups; ++g) {
    double mean = 0, squares = 0;
    for (int64_t c = g * job.width; c < (g + 1) * job.width; ++c) mean += length * pivot[c] + sums.first[c];
    mean /= count;
    for (int64_t c = g * job.width; c < (g + 1) * job.width; ++c) {
      const double shift = mean - pivot[c];  // sum of (d - shift)^2
      squares += sums.second[c] - 2 * shift * sums.first[c] + length * shift * shift;
    }
    out.push_back({mean, std::max(squares / count, 0.0)});
  }
  return out;
}

// Mean and 1 / deviation of each group over the positions of two rows, or of one that is named twice: halves of equal
// numbers add up to them exactly.
void statistics(const GroupNormJob& job, const std::vector<GroupMoments>& own, const std::vector<GroupMoments>& other,
                float* stats) {
  for (size_t g = 0; g < own.size(); ++g) {
    const double apart = (own[g].mean - other[g].mean) / 2;
    const double variance = (own[g].variance + other[g].variance) / 2 + apart * apart;
    stats[2 * g] = static_cast<float>((own[g].mean + other[g].mean) / 2);
    stats[2 * g + 1] = static_cast<float>(1.0 / std::sqrt(variance + job.call.options.eps));
  }
}

ChannelMaps maps_of(const GroupNormJob& job, const float* stats) {
  ChannelMaps maps;
  for (int64_t c = 0; c < job.channels; ++c) {
    maps.mean.push_back(stats[c / job.width * 2]);
    const float gamma = job.call.gamma.defined() ? job.call.gamma.data<float>()[c] : 1.0f;
    maps.slope.push_back(stats[c / job.width * 2 + 1] * gamma);
    maps.offset.push_back(job.call.beta.defined() ? job.call.beta.data<float>()[c] : 0.0f);
  }
  return maps;
}

// What the statistics of some rows send back to the positions of one, of each group.
struct Returns {
  std::vector<double> level, along;
};

// A row's mean and deviation send mean(g) and (x - mean) * mean(g * (x - mean)) / variance to the positions that they
// were taken of: half of that to each of two rows. `stats` are that row's, `here` those of the row that receives.
void add_half(const GroupNormJob& job, const StretchSums& sums, const float* stats, const float* here, Returns& back) {
  const double count = 2 * static_cast<double>(job.length * job.width);
  for (int64_t g = 0; g < job.call.options.groups; ++g) {
    double level = 0, along = 0;
    for (int64_t c = g * job.width; c < (g + 1) * job.width; ++c) {
      level += sums.first[c];
      along += sums.second[c];
    }
    const double inverse = stats[2 * g + 1], slope = along / count * inverse * inverse;
    back.along[g] += slope;
    back.level[g] += level / count + (static_cast<double>(here[2 * g]) - stats[2 * g]) * slope;
  }
}

Corrections corrections(const GroupNormJob& job, const Returns& back) {
  Corrections less;
  for (int64_t g = 0; g < job.call.options.groups; ++g) {
    less.level.insert(less.level.end(), job.width, static_cast<float>(back.level[g]));
    less.along.insert(less.along.end(), job.width, static_cast<float>(back.along[g]));
  }
  return less;
}

// f(n) of a row, computed when it is first asked for: without pooling while the row is in the cache.
template <class T, class F>
auto once_for_each_row(const GroupNormJob& job, F f) {
  return [f, made = std::vector<std::optional<T>>(static_cast<size_t>(job.rows))](int64_t n) mutable -> const T& {
    std::optional<T>& slot = made[static_cast<size_t>(n)];
    if (!slot) slot = f(n);
    return *slot;
  };
}
}  // namespace

Normalised group_norm_forward(const GroupNormCall& call) {
  const GroupNormJob job(call);
  Normalised made{Tensor::empty(call.x.shape(), call.x.dtype()), Tensor::empty({job.rows, call.options.groups, 2})};
  const auto add = HWY_DYNAMIC_DISPATCH(moments);
  const auto map = HWY_DYNAMIC_DISPATCH(map_stretch);
  auto moments_of = once_for_each_row<std::vector<GroupMoments>>(job, [&](int64_t n) {
    const std::vector<float> pivot = first_position(job, n);
    return group_moments(job, pivot,
                         sum_stretches(job, [&](int64_t i, StretchSums& sums) { add(job, pivot.data(), n, i, sums); }));
  });
  for (int64_t n = 0; n < job.rows; ++n) {
    float* stats = made.stats.fill_data<float>() + n * call.options.groups * 2;
    statistics(job, moments_of(n), moments_of(job.other(n)), stats);
    const ChannelMaps maps = maps_of(job, stats);
    for_stretches(job, [&](int64_t i) { map(job, maps, n, i, made.y); });
  }
  return made;
}

Tensor group_norm_backward(const GroupNormCall& call, const Tensor& stats, const Tensor& d_y) {
  const GroupNormJob job(call);
  Tensor d_x = Tensor::empty(call.x.shape(), call.x.dtype());
  const auto add = HWY_DYNAMIC_DISPATCH(cotangent_moments);
  const auto map = HWY_DYNAMIC_DISPATCH(map_back);
  const auto stats_of = [&](int64_t n) { return stats.data<float>() + n * call.options.groups * 2; };
  auto sums_of = once_for_each_row<StretchSums>(job, [&](int64_t n) {
    const ChannelMaps maps = maps_of(job, stats_of(n));
    return sum_stretches(job, [&](int64_t i, StretchSums& s) { add(job, maps, d_y, n, i, s); });
  });
  const std::vector<double> zeros(static_cast<size_t>(call.options.groups), 0.0);
  for (int64_t n = 0; n < job.rows; ++n) {
    Returns back{zeros, zeros};
    for (int64_t from = 0; from < job.rows; ++from) {
      for (const int64_t row : {from, job.other(from)}) {
        if (row == n) add_half(job, sums_of(from), stats_of(from), stats_of(n), back);
      }
    }
    const ChannelMaps maps = maps_of(job, stats_of(n));
    const Corrections less = corrections(job, back);
    for_stretches(job, [&](int64_t i) { map(job, maps, less, d_y, n, i, d_x); });
  }
  return d_x;
}

}  // namespace heddle::cpu
#endif
