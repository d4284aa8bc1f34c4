// Lowering of terms to what the kernel adds: rows over queries, one for each class of keys.
#include "attention_control/plan/term.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();

bool all_zero(const Tensor& x) {
  const std::vector<float> values = x.to_vector();
  return std::ranges::all_of(values, [](float v) { return v == 0; });
}

void check_tokens(const AttentionSite& site, const Tensor& x, int axis, int64_t tokens, const char* what) {
  if (x.dim(axis) != tokens) {
    fail(ErrorCode::internal, "term at " + site.name, std::to_string(tokens) + " " + what, x.shape().text());
  }
}

class Lowering {
 public:
  Lowering(const AttentionSite& site, const SiteTokens& tokens)
      : site_(site), tokens_(tokens), queries_(token_count(tokens.query)), keys_(token_count(tokens.key)) {}

  // rows[l, i] = table[label of query i][l], keys by their label.
  std::vector<ScoreTerm> operator()(const Labels& term) const {
    check_tokens(site_, term.query, 1, queries_, "labels of queries");
    check_tokens(site_, term.key, 1, keys_, "labels of keys");
    const std::vector<int64_t> labels = term.query.to_ids();
    const std::vector<float> table = term.table.to_vector();
    const int64_t rows = term.query.dim(0), lq = term.table.dim(0), lk = term.table.dim(1);
    Tensor out = Tensor::empty({rows, 1, lk, queries_});
    float* to = out.fill_data<float>();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < queries_; ++i) {
        const int64_t label = labels[static_cast<size_t>(r * queries_ + i)];
        if (label < 0 || label >= lq)
          fail(ErrorCode::internal, "term at " + site_.name, "labels below " + std::to_string(lq),
               std::to_string(label));
        for (int64_t l = 0; l < lk; ++l) to[(r * lk + l) * queries_ + i] = table[static_cast<size_t>(label * lk + l)];
      }
    }
    return {{.key_class = term.key, .rows = out}};
  }

  std::vector<ScoreTerm> operator()(const Column& term) const {
    check_tokens(site_, term.bias, 1, keys_, "keys");
    return {{.key_class = {}, .rows = reshape(term.bias, {term.bias.dim(0), 1, keys_, 1})}};
  }

  std::vector<ScoreTerm> operator()(const Row& term) const {
    check_tokens(site_, term.bias, 1, queries_, "queries");
    return {{.key_class = all_keys(0), .rows = reshape(term.bias, {term.bias.dim(0), 1, 1, queries_})}};
  }

  std::vector<ScoreTerm> operator()(const SegmentPair& term) const {
    const auto mark = [](const TokenLayout& layout, const std::string& name) {
      std::vector<int64_t> labels;
      for (const TokenSegment& s : layout)
        labels.insert(labels.end(), static_cast<size_t>(s.tokens()), s.name == name ? 1 : 0);
      return Tensor::from(std::span<const int64_t>(labels), {1, static_cast<int64_t>(labels.size())});
    };
    const float table[] = {0, 0, 0, term.bias};
    return (*this)(Labels{mark(tokens_.query, term.query), mark(tokens_.key, term.key),
                          Tensor::from(std::span<const float>(table), {2, 2})});
  }

  // One term for each limited axis of the grid: keys by their place on it, and one more class for other segments.
  std::vector<ScoreTerm> operator()(const Window& term) const {
    std::vector<ScoreTerm> out;
    const auto axis = [&](int64_t reach, auto place, auto extent) {
      if (reach < 0) return;
      int64_t classes = 1;
      for (const TokenSegment& s : tokens_.key) {
        if (s.name == term.segment) classes = std::max(classes, extent(s) + 1);
      }
      const std::vector<int64_t> key = places(tokens_.key, term.segment, place, classes - 1);
      const std::vector<int64_t> query = places(tokens_.query, term.segment, place, -1);
      Tensor rows = Tensor::zeros({1, 1, classes, queries_});
      float* to = rows.template fill_data<float>();
      for (int64_t c = 0; c + 1 < classes; ++c) {
        for (int64_t i = 0; i < queries_; ++i) {
          const int64_t at = query[static_cast<size_t>(i)];
          if (at >= 0 && std::abs(at - c) > reach) to[c * queries_ + i] = forbidden;
        }
      }
      out.push_back({.key_class = Tensor::from(std::span<const int64_t>(key), {1, keys_}), .rows = rows});
    };
    axis(
        term.frames, [](const TokenSegment& s, int64_t i) { return i / (s.height * s.width); },
        [](const TokenSegment& s) { return s.frames; });
    axis(
        term.height, [](const TokenSegment& s, int64_t i) { return i / s.width % s.height; },
        [](const TokenSegment& s) { return s.height; });
    axis(
        term.width, [](const TokenSegment& s, int64_t i) { return i % s.width; },
        [](const TokenSegment& s) { return s.width; });
    return out;
  }

  std::vector<ScoreTerm> operator()(const Dense& term) const {
    check_tokens(site_, term.bias, 2, queries_, "queries");
    check_tokens(site_, term.bias, 3, keys_, "keys");
    return {{.key_class = {}, .rows = contiguous(transpose(term.bias))}};
  }

 private:
  Tensor all_keys(int64_t label) const {
    const std::vector<int64_t> labels(static_cast<size_t>(keys_), label);
    return Tensor::from(std::span<const int64_t>(labels), {1, keys_});
  }

  template <typename Place>
  static std::vector<int64_t> places(const TokenLayout& layout, const std::string& segment, Place place,
                                     int64_t other) {
    std::vector<int64_t> out;
    for (const TokenSegment& s : layout) {
      for (int64_t i = 0; i < s.tokens(); ++i) out.push_back(s.name == segment ? place(s, i) : other);
    }
    return out;
  }

  const AttentionSite& site_;
  const SiteTokens& tokens_;
  int64_t queries_, keys_;
};

}  // namespace

bool has_rows(const TermForm& form) {
  struct Rows {
    bool operator()(const Labels& t) const { return t.query.dim(0) > 1 || t.key.dim(0) > 1; }
    bool operator()(const Column& t) const { return t.bias.dim(0) > 1; }
    bool operator()(const Row& t) const { return t.bias.dim(0) > 1; }
    bool operator()(const SegmentPair&) const { return false; }
    bool operator()(const Window&) const { return false; }
    bool operator()(const Dense& t) const { return t.bias.dim(0) > 1; }
  };
  return std::visit(Rows{}, form);
}

bool is_neutral(const TermForm& form) {
  struct Neutral {
    bool operator()(const Labels& t) const { return all_zero(t.table); }
    bool operator()(const Column& t) const { return all_zero(t.bias); }
    bool operator()(const Row& t) const { return all_zero(t.bias); }
    bool operator()(const SegmentPair& t) const { return t.bias == 0; }
    bool operator()(const Window& t) const { return t.frames < 0 && t.height < 0 && t.width < 0; }
    bool operator()(const Dense& t) const { return all_zero(t.bias); }
  };
  return std::visit(Neutral{}, form);
}

int kernel_terms(const std::vector<Term>& terms) {
  int count = 0, columns = 0;
  for (const Term& term : terms) {
    if (const auto* window = std::get_if<Window>(&term.form); window != nullptr && !term.at_run_time) {
      count += (window->frames >= 0) + (window->height >= 0) + (window->width >= 0);
    } else if (std::holds_alternative<Column>(term.form) && !term.at_run_time) {
      columns = 1;
    } else {
      ++count;
    }
  }
  return count + columns;
}

int64_t bytes_of(const TermForm& form, const SiteTokens& tokens) {
  struct Bytes {
    int64_t queries, keys;
    const TokenLayout& layout;
    int64_t operator()(const Labels& t) const {
      return t.query.dim(0) * t.table.dim(1) * queries * 4 + t.key.dim(0) * keys * 8;
    }
    int64_t operator()(const Column& t) const { return t.bias.count() * 4; }
    int64_t operator()(const Row& t) const { return t.bias.count() * 4 + keys * 8; }
    int64_t operator()(const SegmentPair&) const { return 2 * queries * 4 + keys * 8; }
    int64_t operator()(const Window& t) const {
      int64_t bytes = 0;
      for (const TokenSegment& s : layout) {
        if (s.name != t.segment) continue;
        for (const auto& [reach, extent] : {std::pair(t.frames, s.frames), {t.height, s.height}, {t.width, s.width}})
          bytes += reach < 0 ? 0 : (extent + 1) * queries * 4 + keys * 8;
      }
      return bytes;
    }
    int64_t operator()(const Dense& t) const { return t.bias.count() * 4; }
  };
  return std::visit(Bytes{token_count(tokens.query), token_count(tokens.key), tokens.key}, form);
}

std::vector<ScoreTerm> lower(const TermForm& form, const AttentionSite& site, const SiteTokens& tokens) {
  return std::visit(Lowering(site, tokens), form);
}

std::vector<ScoreTerm> lower(const std::vector<Term>& terms, const TermPlace& place) {
  std::vector<ScoreTerm> out;
  Tensor columns;  // all of them as one
  const auto put = [&](const TermForm& form) {
    const std::vector<ScoreTerm> one = lower(form, place.site, place.tokens);
    if (std::holds_alternative<Column>(form)) {
      columns = columns.defined() ? add(columns, one[0].rows) : one[0].rows;
    } else {
      out.insert(out.end(), one.begin(), one.end());
    }
  };
  for (const Term& term : terms) {
    if (!term.at_run_time) {
      put(term.form);
    } else {
      for (const TermForm& form : term.at_run_time(place)) {
        if (!is_neutral(form)) put(form);
      }
    }
  }
  if (columns.defined()) out.push_back({.key_class = {}, .rows = columns});
  return out;
}

}  // namespace heddle
