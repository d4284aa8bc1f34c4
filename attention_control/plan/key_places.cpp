// Tables moved: angles add where complex numbers multiply.
#include "attention_control/plan/key_places.h"

#include <algorithm>
#include <complex>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

using Turns = std::vector<std::complex<double>>;  // of one token, one for each pair of features

Turns turns_of(const Rotary& at, int64_t token) {
  const std::vector<float> cosine = slice(at.cosine, 0, token, token + 1).to_vector();
  const std::vector<float> sine = slice(at.sine, 0, token, token + 1).to_vector();
  Turns out;
  for (size_t i = 0; i < cosine.size(); i += 2) out.emplace_back(cosine[i], sine[i + 1]);
  return out;
}

// From the first column to one behind the last.
Turns past_the_grid(const Rotary& at, const TokenSegment& grid, int64_t begin) {
  Turns first = turns_of(at, begin);
  if (grid.width < 2) return Turns(first.size(), 1.0);
  const Turns next = turns_of(at, begin + 1), last = turns_of(at, begin + grid.width - 1);
  for (size_t i = 0; i < first.size(); ++i) first[i] = next[i] * last[i] * std::conj(first[i] * first[i]);
  return first;
}

Rotary tables(const std::vector<Turns>& tokens) {
  std::vector<double> angles;
  for (const Turns& token : tokens) {
    for (const std::complex<double>& turn : token) angles.push_back(std::arg(turn));
  }
  return rotary_tables(angles, static_cast<int64_t>(tokens.size()));
}

}  // namespace

Rotary placed(const Rotary& all, const TokenLayout& layout, const std::string& segment, KeyPlaces places) {
  const auto grid = std::ranges::find(layout, segment, &TokenSegment::name);
  if (grid == layout.end()) fail(ErrorCode::internal, "placed", "a segment " + segment, "none");
  const TokenRange range = range_of(layout, segment);
  if (places == KeyPlaces::own)
    return {contiguous(slice(all.cosine, 0, range.begin, range.end)),
            contiguous(slice(all.sine, 0, range.begin, range.end))};
  const Turns shift = past_the_grid(all, *grid, range.begin);
  const int64_t middle = range.begin + grid->height / 2 * grid->width + grid->width / 2;
  std::vector<Turns> tokens;
  for (int64_t token = range.begin; token < range.end; ++token) {
    Turns& turns = tokens.emplace_back(turns_of(all, places == KeyPlaces::centre ? middle : token));
    for (size_t i = 0; places == KeyPlaces::beside && i < turns.size(); ++i) turns[i] *= shift[i];
  }
  return tables(tokens);
}

Rotary with_placed(const Rotary& all, const TokenLayout& layout, const std::string& segment, KeyPlaces places) {
  const int64_t begin = range_of(layout, segment).begin;
  const Rotary there = placed(all, layout, segment, places);
  return {contiguous(with_slice(all.cosine, 0, begin, there.cosine)),
          contiguous(with_slice(all.sine, 0, begin, there.sine))};
}

}  // namespace heddle
