// Bounded Attention's regions, and what each token may see in each pass.
#include <algorithm>
#include <limits>

#include "attention_control/plugins/bounded_attention.h"

namespace heddle {
namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();

// A token as the masks see it: a pixel is the set of its regions; a text token has a bit of its own beside the set of
// its subjects, or one that says what else it is.
constexpr uint64_t text = 1ull << 32, end_bit = 1ull << 33, filtered_bit = 1ull << 34;
constexpr uint64_t set_of(uint64_t token) {
  return token & 0xffffffffull;
}
constexpr bool apart(uint64_t a, uint64_t b) {
  return set_of(a) != 0 && set_of(b) != 0 && (set_of(a) & set_of(b)) == 0;
}

// Tokens as labels 0, 1, ... in the order of `distinct`.
std::vector<int64_t> labelled(const std::vector<uint64_t>& tokens, const std::vector<uint64_t>& distinct) {
  std::vector<int64_t> out;
  for (const uint64_t token : tokens) out.push_back(std::ranges::lower_bound(distinct, token) - distinct.begin());
  return out;
}

std::vector<uint64_t> distinct_of(std::vector<uint64_t> tokens) {
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

// Tokens of each row of a layout: pixels as they are row by row, words alike in all rows.
std::vector<uint64_t> laid_out(const TokenLayout& layout, const std::vector<uint64_t>& pixels,
                               const std::vector<uint64_t>& words, int64_t rows) {
  const auto each = static_cast<std::ptrdiff_t>(pixels.size()) / rows;
  std::vector<uint64_t> out;
  for (std::ptrdiff_t row = 0; row < rows; ++row) {
    for (const TokenSegment& segment : layout) {
      if (segment.name == "image")
        out.insert(out.end(), pixels.begin() + row * each, pixels.begin() + (row + 1) * each);
      else
        out.insert(out.end(), words.begin(), words.end());
    }
  }
  return out;
}

Tensor ids(const std::vector<int64_t>& values, int64_t rows) {
  return Tensor::from(std::span<const int64_t>(values), {rows, static_cast<int64_t>(values.size()) / rows});
}

}  // namespace

std::vector<RegionMask> BoundedAttention::first_regions(int64_t height, int64_t width) const {
  std::vector<RegionMask> out;
  for (const auto& box : boxes) out.push_back(box_mask(box, height, width));
  for (const MaskRows& rows : masks) {
    RegionMask mask{static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size()), {}};
    for (const auto& line : rows) mask.inside.insert(mask.inside.end(), line.begin(), line.end());
    out.push_back(resized(mask, height, width));
  }
  return out;
}

std::vector<RegionMask> BoundedAttention::regions_at(const Picture& picture, const TokenSegment& grid) const {
  const auto found = drawn_.find(picture);
  if (found == drawn_.end() || found->second.regions.empty()) return first_regions(grid.height, grid.width);
  std::vector<RegionMask> out;
  for (const RegionMask& mask : found->second.regions) out.push_back(resized(mask, grid.height, grid.width));
  return out;
}

// The sets of regions of the lane's pixels, row after row.
std::vector<uint64_t> BoundedAttention::pixels_at(const TermPlace& place) const {
  std::vector<uint64_t> out;
  for (int64_t row = 0; row < place.lane.rows(); ++row) {
    const std::vector<uint32_t> one =
        membership(regions_at({place.lane.member, place.lane.picture + row}, image_grid(place.tokens)));
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// Text keys of the lane; all plain in the branch whose text is not the prompt.
std::vector<uint64_t> BoundedAttention::words_at(const TermPlace& place) const {
  const Tokens& of = tokens_[static_cast<size_t>(place.lane.member)];
  std::vector<uint64_t> out(static_cast<size_t>(of.length), text);
  if (place.lane.branch != Branch::cond) return out;
  for (const int64_t token : of.filtered) out[static_cast<size_t>(token)] = text | filtered_bit;
  for (const int64_t token : of.ends) out[static_cast<size_t>(token)] = text | end_bit;
  for (size_t i = 0; i < of.subjects.size(); ++i) {
    for (const int64_t token : of.subjects[i]) out[static_cast<size_t>(token)] |= 1ull << i;
  }
  return out;
}

// Pixels of subjects see their own regions and the background, the background sees all pixels. A subject's words are
// seen in its region (guiding: in the background, too); end tokens not in the background (guiding: everywhere);
// filtered words nowhere. In joint attention words look, too: a subject's not at other subjects' regions.
bool BoundedAttention::sees(uint64_t query, uint64_t key, bool guiding) const {
  const bool pixel = (query & text) == 0, background = pixel && set_of(query) == 0;
  if (pixel && (key & text) != 0) {
    if ((key & filtered_bit) != 0) return false;
    if (set_of(key) != 0) return !apart(query, key) && (guiding || !background);
    return (key & end_bit) == 0 || guiding || !background;
  }
  const bool both_words = !pixel && (key & text) != 0;
  return !apart(query, key) || (both_words && !isolate_words);
}

std::vector<TermForm> BoundedAttention::mask(const TermPlace& place) const {
  const std::vector<uint64_t> pixels = pixels_at(place), words = words_at(place);
  const bool image_keys = !image_text(place.tokens).image_keys.empty();
  const int64_t rows = place.lane.rows(), key_rows = image_keys ? rows : 1;
  const std::vector<uint64_t> queries = laid_out(place.tokens.query, pixels, words, rows);
  const std::vector<uint64_t> keys = laid_out(place.tokens.key, pixels, words, key_rows);
  const std::vector<uint64_t> query_kinds = distinct_of(queries), key_kinds = distinct_of(keys);
  std::vector<float> table;
  for (const uint64_t q : query_kinds) {
    for (const uint64_t k : key_kinds) table.push_back(sees(q, k, place.moment.pass == Pass::guide) ? 0 : forbidden);
  }
  return {Labels{ids(labelled(queries, query_kinds), rows), ids(labelled(keys, key_kinds), key_rows),
                 Tensor::from(std::span<const float>(table),
                              {static_cast<int64_t>(query_kinds.size()), static_cast<int64_t>(key_kinds.size())})}};
}

}  // namespace heddle
