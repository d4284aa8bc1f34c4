// Segments that a plan holds: their keys and values, or what the other queries get from them, kept at one evaluation
// and standing in for them at later ones, where the network has left their tokens out.
#pragma once

#include <vector>

#include "attention_control/plan/execute.h"
#include "attention_control/plan/planner.h"

namespace heddle {

// What a network hands to attend().
struct SiteTensors {
  const AttentionSite& site;
  const SiteTokens& tokens;
  Tensor q, k, v;  // [B,N,H,D] before rotary positions
  AttentionContext& context;
  const Rotary& rotary;
};

// Into the bank, joined as `keep` says.
void put(const Keep& keep, std::vector<Tensor> tensors, const AttentionSite& site, const AttentionContext& context);

// Of an evaluation with all tokens, what `layer` keeps of segments. The others' part of a softmax is computed beside.
void keep_segments(const CompiledPlan::LayerSection& layer, const SiteCall& call);

// Whether a part of the softmax is held among them.
bool holds_part(const std::vector<Reuse>& left_out);

// One attention from which segments are left out.
class LeftOut {
 public:
  // `given` has the tokens that are there, and names all of them. Error(internal) where the bank holds other rows.
  LeftOut(const std::vector<Reuse>& left_out, const SiteTensors& given);

  SiteTokens tokens() const;  // those that are there, without terms
  // Of the queries that are there, [B,N,H,Dv], unedited.
  Tensor attend() const;
  // All tokens: queries that are not there are zeros, keys and values are those held.
  SiteTensors filled() const;
  Tensor cut(const Tensor& out) const;  // its rows of the queries that are there

 private:
  const Reuse* held(const std::string& segment) const;
  const std::vector<Tensor>& of_bank(const Reuse& reuse) const;
  std::vector<int64_t> places(const TokenLayout& layout, bool held_keys_too) const;
  Tensor filled(const Tensor& x, const TokenLayout& layout, int which) const;

  const std::vector<Reuse>& left_out_;
  const SiteTensors& given_;
};

}  // namespace heddle
