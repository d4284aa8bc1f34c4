// Lanes: the named parts of a batch. Pipelines own the mapping to rows; methods speak only of lanes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace heddle {

enum class Branch : uint8_t { cond, uncond, perturbed };

// Rows [begin, end) of an evaluation: one branch of guidance of one member (one prompt of the run), one row a picture.
struct Lane {
  std::string name;  // "cond", "source.uncond"
  Branch branch = Branch::cond;
  int member = 0;
  int64_t begin = 0, end = 0;
  int64_t picture = 0;  // of the member's pictures, the one in the first row
  int64_t rows() const { return end - begin; }
};

// Which lanes an edit concerns; nothing stands for all.
struct LaneSelect {
  std::optional<Branch> branch;
  std::optional<int> member;
  bool matches(Branch b, int m) const { return (!branch || *branch == b) && (!member || *member == m); }
};

// Another lane seen from the one that reads: what is not given is the reader's own.
struct LaneRef {
  std::optional<Branch> branch;
  std::optional<int> member;
  bool own() const { return !branch && !member; }
  bool operator==(const LaneRef&) const = default;
};

std::string name_of(Branch branch);
// The lane that `ref` means in `lanes` for a reader; null where this evaluation has none.
const Lane* find_lane(const std::vector<Lane>& lanes, const LaneRef& ref, const Lane& reader);

}  // namespace heddle
