// Group norms whose mean and variance are taken over the maps of two members together: what a method may declare beside
// its edits of attention, and where the network looks it up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heddle {

struct AttentionContext;
struct RunShape;

// All group norms of the network, in denoising and guiding passes: the maps of `member` are normalised as if those of
// `with` stood beside them, each branch of guidance by itself (share_group_norm of StyleAligned's official code).
struct SharedNorms {
  std::string method;  // who asks
  std::string where;   // the line of the preset, for errors
  int member = 0, with = 0;
};

// For each of the `rows` of an evaluation the row that its group norms are pooled with (group_norm in
// kernels/ops/norm.h), its own where a plan says nothing of it; empty where it says nothing at all.
std::vector<int64_t> norm_partners(const AttentionContext& context, int64_t rows);

// Error(usage) where the network has no group norms, a member does not exist, or two methods speak of one member's.
void check_shared_norms(const std::vector<SharedNorms>& shared, const RunShape& run);

}  // namespace heddle
