// Two names for one layer: that of a checkpoint's authors and that of diffusers, by which heddle builds its networks.
// Layouts are tables of these; what reads them is the same for all.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/shape.h"

namespace heddle {

// What must be done to a tensor of the authors' beside cutting its rows.
enum class Change : uint8_t { none, swapped_halves, transposed };

// "*" stands for a number, the same one in both; what follows the name (".weight") stays.
struct LayerName {
  std::string theirs;
  // Several: their rows lie one after the other in the authors' tensor. None: the network has no use for it.
  std::vector<std::string> ours;
  std::vector<int> shares = {};  // of those rows, as proportions; empty: equal ones
  Change change = Change::none;
};
using LayerNames = std::vector<LayerName>;

// Where a tensor of ours lies: rows first/of to (first + count)/of of a tensor in the file.
struct Piece {
  std::string source;
  int first = 0, count = 1, of = 1;
  Change change = Change::none;
};
using Pieces = std::map<std::string, Piece>;  // by our name

// The numbers that the stars of `pattern` stand for in `name`, and what follows; nothing where it does not match.
struct PatternMatch {
  std::vector<std::string> numbers;
  std::string rest;  // empty or ".weight"
};
std::optional<PatternMatch> match_pattern(std::string_view pattern, std::string_view name);
std::string filled_pattern(std::string_view pattern, const std::vector<std::string>& numbers);

// Our pieces of every tensor whose name begins with `prefix`. The first row of the table that matches counts; a name
// that none matches stays as it is. Error(input) where rows cannot be cut so or two tensors would have one name.
Pieces pieces_of(const std::map<std::string, Shape>& file, const std::string& prefix, const LayerNames& names,
                 const std::string& where);

// The shape of a piece of a tensor shaped so.
Shape shape_of(const Piece& piece, const Shape& source);

// The authors' layers that hold a layer of ours, read from the table backwards: `source` is a layer without its prefix.
std::vector<Piece> original_layers(const std::string& ours, const LayerNames& names);

}  // namespace heddle
