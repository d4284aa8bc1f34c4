// A tile of scores [key][query] between the two products: terms that edit it, and the running softmax over its keys.
// Compiled once per instruction set.
#if defined(HEDDLE_SCORE_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_SCORE_TILE_INL_H
#undef HEDDLE_SCORE_TILE_INL_H
#else
#define HEDDLE_SCORE_TILE_INL_H
#endif

#include "kernels/cpu/attention_job.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/product-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET <= HWY_AVX3
#pragma GCC target("avx512bf16")
#endif
namespace heddle::cpu::HWY_NAMESPACE {

struct ScoreTile {
  float* scores;  // [keys][query_rows]
  int64_t keys, vectors;
  int64_t first_query, queries;  // of the vectors' lanes, `queries` are real
  int64_t first_key;
  float unit;                       // exp2(score * unit) is the weight: a bias b in nats is b * log2(e) / unit here
  const int64_t* chosen = nullptr;  // where the keys are not neighbours
  int64_t key(int64_t k) const { return chosen ? chosen[k] : first_key + k; }
};

// Terms are applied to each tile before its softmax. The causal one: query i sees keys j <= i + offset.
struct NoTerms {
  NoTerms(const AttentionInputs&, int64_t) {}
  void operator()(const ScoreTile&) const {}
  bool hide(const ScoreTile&) const { return false; }
};
struct CausalTerm {
  int64_t offset;
  CausalTerm(const AttentionInputs& in, int64_t) : offset(in.k.dim(1) - in.q.dim(1)) {}
  void operator()(const ScoreTile& tile) const {
    for (int64_t k = 0; k < tile.keys; ++k) {
      const int64_t blind = std::min(tile.key(k) - offset - tile.first_query, tile.vectors * lanes);
      if (blind > 0) std::fill_n(tile.scores + k * query_rows, blind, masked_score);
    }
  }
  bool hide(const ScoreTile&) const { return false; }
};

// score = max(score + bias, masked_score): -inf becomes finite, and NaN, the second operand, stays.
HWY_INLINE LanesVec biased(LanesVec score, LanesVec bias, LanesVec factor) {
  return hn::Max(hn::Set(Lanes(), masked_score), hn::MulAdd(bias, factor, score));
}

// The caller's terms as one head sees them, and causality where it is asked for as well.
struct AddedTerms {
  HeadTerms terms;
  CausalTerm causal;
  bool is_causal;

  AddedTerms(const AttentionInputs& in, int64_t problem)
      : terms(in, problem), causal(in, problem), is_causal(in.causal) {}

  void operator()(const ScoreTile& tile) const {
    const LanesVec factor = hn::Set(Lanes(), static_cast<float>(M_LOG2E) / tile.unit);
    for (const HeadTerm& term : terms) {
      for (int64_t k = 0; k < tile.keys; ++k) {
        const float* bias = term.row(term.class_of(tile.key(k)), tile.first_query);
        add_row(tile, tile.scores + k * query_rows, bias, term.by_query, factor);
      }
    }
    if (is_causal) causal(tile);
  }

  static HWY_INLINE void add_row(const ScoreTile& tile, float* scores, const float* bias, bool by_query,
                                 LanesVec factor) {
    const Lanes d;
    if (!by_query) {
      const LanesVec all = hn::Set(d, *bias);
      for (int64_t r = 0; r < tile.vectors * lanes; r += lanes)
        hn::StoreU(biased(hn::LoadU(d, scores + r), all, factor), d, scores + r);
      return;
    }
    for_vectors(tile.queries, [&](int64_t r, auto part) HWY_ATTR {
      hn::StoreU(biased(hn::LoadU(d, scores + r), load(bias + r, part), factor), d, scores + r);
    });
  }

  // True where no query of the tile sees any of its keys.
  bool hide(const ScoreTile& tile) const {
    for (int64_t k = 0; k < tile.keys; ++k) {
      bool hidden = false;
      for (const HeadTerm& term : terms) hidden = hidden || hides(term, term.class_of(tile.key(k)), tile);
      if (!hidden) return false;
    }
    return true;
  }

  static bool hides(const HeadTerm& term, int64_t of_class, const ScoreTile& tile) {
    const float* bias = term.row(of_class, tile.first_query);
    const float least = masked_score * tile.unit / static_cast<float>(M_LOG2E);
    if (!term.by_query) return *bias <= least;
    const Lanes d;
    int64_t i = 0;
    for (; i + lanes <= tile.queries; i += lanes) {
      if (!hn::AllTrue(d, hn::Le(hn::LoadU(d, bias + i), hn::Set(d, least)))) return false;
    }
    return std::all_of(bias + i, bias + tile.queries, [&](float b) { return b <= least; });
  }
};

// Calls f with the kind of terms that the inputs need: the plain kernel has none of their branches.
template <class F>
void with_terms(const AttentionInputs& in, int64_t problem, const F& f) {
  if (!in.terms.empty()) return f(AddedTerms(in, problem));
  if (in.causal) return f(CausalTerm(in, problem));
  f(NoTerms(in, problem));
}

// The running maximum (in the tile's units), sum and the factor that older sums must take, per query.
struct SoftmaxState {
  float maximum[query_rows], sum[query_rows], factor[query_rows];
  void reset() {
    std::fill_n(maximum, query_rows, masked_score);
    std::fill_n(sum, query_rows, 0.0f);
  }
};

HWY_INLINE LanesVec largest(const ScoreTile& tile, int64_t r, LanesVec start) {
  LanesVec a = start, b = start;
  int64_t k = 0;
  for (; k + 1 < tile.keys; k += 2) {
    a = hn::Max(a, hn::LoadU(Lanes(), tile.scores + k * query_rows + r));
    b = hn::Max(b, hn::LoadU(Lanes(), tile.scores + (k + 1) * query_rows + r));
  }
  if (k < tile.keys) a = hn::Max(a, hn::LoadU(Lanes(), tile.scores + k * query_rows + r));
  return hn::Max(a, b);
}

HWY_INLINE LanesVec weight(const ScoreTile& tile, int64_t k, int64_t r, LanesVec unit, LanesVec shift) {
  return exp2_of(Lanes(), hn::MulSub(hn::LoadU(Lanes(), tile.scores + k * query_rows + r), unit, shift));
}

// Neighbouring keys share a word. Weights are at least 0, so adding half a place rounds.
HWY_INLINE void store_pair(LanesVec even, LanesVec odd, float* at) {
  const hn::RebindToUnsigned<Lanes> du;
  const auto half = hn::Set(du, 0x8000u);
  const auto low = hn::ShiftRight<16>(hn::Add(hn::BitCast(du, even), half));
  const auto high = hn::And(hn::Add(hn::BitCast(du, odd), half), hn::Set(du, 0xffff0000u));
  hn::StoreU(hn::Or(low, high), du, reinterpret_cast<uint32_t*>(at));
}

template <class Op>
void soften(const ScoreTile& tile, SoftmaxState& state) {
  const Lanes d;
  const LanesVec unit = hn::Set(d, tile.unit);
  for (int64_t r = 0; r < tile.vectors * lanes; r += lanes) {
    const LanesVec before = hn::LoadU(d, state.maximum + r);
    const LanesVec top = largest(tile, r, before);
    const LanesVec shift = hn::Mul(top, unit);
    const LanesVec factor = exp2_of(d, hn::MulSub(before, unit, shift));
    LanesVec sum = hn::Mul(hn::LoadU(d, state.sum + r), factor);
    if constexpr (Op::keys_per_word == 1) {
      for (int64_t k = 0; k < tile.keys; ++k) {
        const LanesVec p = weight(tile, k, r, unit, shift);
        sum = hn::Add(sum, p);
        hn::StoreU(p, d, tile.scores + k * query_rows + r);
      }
    } else {
      for (int64_t k = 0; k < tile.keys; k += 2) {
        const LanesVec even = weight(tile, k, r, unit, shift);
        const LanesVec odd = k + 1 < tile.keys ? weight(tile, k + 1, r, unit, shift) : hn::Zero(d);
        sum = hn::Add(sum, hn::Add(even, odd));
        store_pair(even, odd, tile.scores + k / 2 * query_rows + r);
      }
    }
    hn::StoreU(top, d, state.maximum + r);
    hn::StoreU(sum, d, state.sum + r);
    hn::StoreU(factor, d, state.factor + r);
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
