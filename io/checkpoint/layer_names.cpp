// Reads tables of layers' names, forwards and backwards.
#include "io/checkpoint/layer_names.h"

#include <numeric>

#include "kernels/core/error.h"

namespace heddle {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The part of a row of the table that is ours[index].
Piece part_of(const LayerName& row, size_t index) {
  const auto share = [&](size_t i) { return row.shares.empty() ? 1 : row.shares[i]; };
  Piece piece{.count = share(index), .of = 0, .change = row.change};
  for (size_t i = 0; i < row.ours.size(); ++i) {
    if (i < index) piece.first += share(i);
    piece.of += share(i);
  }
  return piece;
}

void add_piece(Pieces& pieces, const std::string& name, const Piece& piece, const Shape& source,
               const std::string& where) {
  if (piece.of > 1 && (source.rank() == 0 || source[0] % piece.of != 0)) {
    fail(ErrorCode::input, where + " " + piece.source, "rows in " + std::to_string(piece.of) + " equal parts",
         source.text());
  }
  const bool halves = piece.change == Change::swapped_halves;
  if ((halves && (source.rank() == 0 || source[0] % 2 != 0)) ||
      (piece.change == Change::transposed && source.rank() != 2))
    fail(ErrorCode::input, where + " " + piece.source, halves ? "an even number of rows" : "a matrix", source.text());
  const auto [at, is_new] = pieces.emplace(name, piece);
  if (!is_new)
    fail(ErrorCode::input, where, "each layer once", "\"" + piece.source + "\" and \"" + at->second.source + "\"");
}

}  // namespace

std::optional<PatternMatch> match_pattern(std::string_view pattern, std::string_view name) {
  PatternMatch out;
  size_t at = 0;
  for (const char c : pattern) {
    if (c != '*') {
      if (at == name.size() || name[at++] != c) return std::nullopt;
      continue;
    }
    const size_t begin = at;
    while (at < name.size() && is_digit(name[at])) ++at;
    if (at == begin) return std::nullopt;
    out.numbers.emplace_back(name.substr(begin, at - begin));
  }
  out.rest = name.substr(at);
  if (!out.rest.empty() && out.rest[0] != '.') return std::nullopt;
  return out;
}

std::string filled_pattern(std::string_view pattern, const std::vector<std::string>& numbers) {
  std::string out;
  size_t used = 0;
  for (const char c : pattern) {
    if (c == '*')
      out += numbers.at(used++);
    else
      out += c;
  }
  return out;
}

Pieces pieces_of(const std::map<std::string, Shape>& file, const std::string& prefix, const LayerNames& names,
                 const std::string& where) {
  Pieces pieces;
  for (auto it = file.lower_bound(prefix); it != file.end() && it->first.starts_with(prefix); ++it) {
    const std::string theirs = it->first.substr(prefix.size());
    bool known = false;
    for (const LayerName& row : names) {
      const auto found = match_pattern(row.theirs, theirs);
      if (!found) continue;
      known = true;
      for (size_t i = 0; i < row.ours.size(); ++i) {
        Piece piece = part_of(row, i);
        piece.source = it->first;
        add_piece(pieces, filled_pattern(row.ours[i], found->numbers) + found->rest, piece, it->second, where);
      }
      break;
    }
    if (!known) add_piece(pieces, theirs, {.source = it->first}, it->second, where);
  }
  return pieces;
}

Shape shape_of(const Piece& piece, const Shape& source) {
  Shape shape = source;
  if (piece.change == Change::transposed) return {source[1], source[0]};
  if (piece.of > 1) shape[0] = source[0] / piece.of * piece.count;
  return shape;
}

std::vector<Piece> original_layers(const std::string& ours, const LayerNames& names) {
  std::vector<Piece> out;
  for (const LayerName& row : names) {
    for (size_t i = 0; i < row.ours.size(); ++i) {
      const auto found = match_pattern(row.ours[i], ours);
      if (!found || !found->rest.empty()) continue;
      Piece piece = part_of(row, i);
      piece.source = filled_pattern(row.theirs, found->numbers);
      out.push_back(piece);
    }
  }
  return out;
}

}  // namespace heddle
