// Keys of the segments that are there and of those held, in the site's order; parts of the softmax merged to theirs.
#include "attention_control/plan/left_out.h"

#include <algorithm>

#include "attention_control/plan/pick.h"
#include "kernels/core/error.h"
#include "kernels/ops/attention_merge.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/rotary.h"

namespace heddle {
namespace {

// One softmax of some queries over some keys, q and k as the kernel sees them.
AttentionResult softmax_of(const SiteTensors& given, const Tensor& q, const Tensor& k, const Tensor& v,
                           const std::vector<int64_t>& queries, const std::vector<int64_t>& keys) {
  AttentionOptions options{.scale = given.site.scale, .causal = given.site.causal, .terms = {}};
  for (const ScoreTerm& term : given.tokens.terms) options.terms.push_back(part_of(term, queries, keys));
  if (given.context.plan->least != Tier::reference) return attention(q, k, v, options);
  const ReferenceResult done = attention_reference(q, k, v, options);
  return {done.out, done.lse};
}

Rotary picked_rows(const Rotary& all, const std::vector<int64_t>& tokens) {
  return {contiguous(picked(all.cosine, 0, tokens)), contiguous(picked(all.sine, 0, tokens))};
}

Tensor turned(const Tensor& x, const Rotary& all, const std::vector<int64_t>& tokens) {
  return all.defined() ? rotate(x, picked_rows(all, tokens)) : x;
}

// Places of the segments for which `wanted` holds.
template <typename Wanted>
std::vector<int64_t> places_of(const TokenLayout& layout, Wanted wanted) {
  std::vector<int64_t> out;
  int64_t at = 0;
  for (const TokenSegment& segment : layout) {
    const int64_t end = at + segment.tokens();
    for (; at < end; ++at) {
      if (wanted(segment.name)) out.push_back(at);
    }
  }
  return out;
}

}  // namespace

void put(const Keep& keep, std::vector<Tensor> tensors, const AttentionSite& site, const AttentionContext& context) {
  for (Tensor& x : tensors) {
    x = contiguous(keep.combine ? keep.combine(x.detach(), context.lanes) : x.detach());
  }
  context.bank->put(keep.slot, site.depth, std::move(tensors));
}

void keep_segments(const CompiledPlan::LayerSection& layer, const SiteCall& call) {
  for (const Keep& keep : layer.keeps) {
    if (keep.held == Held::result) continue;
    const auto own = [&](const std::string& name) { return name == keep.segment; };
    const std::vector<int64_t> keys = places_of(call.tokens.key, own);
    if (keep.held == Held::keys) {
      put(keep, {picked(call.plain.k, 1, keys), picked(call.v, 1, keys)}, call.site, call.context);
      continue;
    }
    const std::vector<int64_t> others = places_of(call.tokens.query, [&](const std::string& n) { return !own(n); });
    const SiteTensors all{call.site, call.tokens, call.q, call.k, call.v, call.context, call.plain.rotary};
    const AttentionResult part =
        softmax_of(all, picked(call.q, 1, others), picked(call.k, 1, keys), picked(call.v, 1, keys), others, keys);
    put(keep, {part.out, part.lse}, call.site, call.context);
  }
}

LeftOut::LeftOut(const std::vector<Reuse>& left_out, const SiteTensors& given) : left_out_(left_out), given_(given) {
  for (const Reuse& reuse : left_out) {
    const int64_t rows = of_bank(reuse).front().dim(0);
    if (rows != given.q.dim(0)) {
      fail(ErrorCode::internal, "attend " + given.site.name,
           std::to_string(given.q.dim(0)) + " rows of what is held of " + reuse.segment, std::to_string(rows));
    }
  }
}

const Reuse* LeftOut::held(const std::string& segment) const {
  const auto found = std::ranges::find(left_out_, segment, &Reuse::segment);
  return found == left_out_.end() ? nullptr : &*found;
}

const std::vector<Tensor>& LeftOut::of_bank(const Reuse& reuse) const {
  return given_.context.bank->at(reuse.slot, given_.site.depth);
}

std::vector<int64_t> LeftOut::places(const TokenLayout& layout, bool held_keys_too) const {
  return places_of(layout, [&](const std::string& name) {
    const Reuse* reuse = held(name);
    return reuse == nullptr || (held_keys_too && reuse->held == Held::keys);
  });
}

SiteTokens LeftOut::tokens() const {
  SiteTokens out{given_.tokens.query, given_.tokens.key};
  for (TokenLayout* layout : {&out.query, &out.key})
    std::erase_if(*layout, [this](const TokenSegment& segment) { return held(segment.name) != nullptr; });
  return out;
}

bool holds_part(const std::vector<Reuse>& left_out) {
  return std::ranges::any_of(left_out, [](const Reuse& reuse) { return reuse.held == Held::part; });
}

// The tokens of x with those that the bank holds, tensor `which` of each, in the layout's order; -1: with zeros.
Tensor LeftOut::filled(const Tensor& x, const TokenLayout& layout, int which) const {
  std::vector<Tensor> segments;
  int64_t at = 0;
  for (const TokenSegment& segment : layout) {
    const Reuse* reuse = held(segment.name);
    if (reuse == nullptr) {
      segments.push_back(slice(x, 1, at, at + segment.tokens()));
      at += segment.tokens();
    } else if (which < 0) {
      segments.push_back(Tensor::zeros({x.dim(0), segment.tokens(), x.dim(2), x.dim(3)}, x.dtype()));
    } else if (reuse->held == Held::keys) {
      segments.push_back(of_bank(*reuse)[static_cast<size_t>(which)]);
    }
  }
  return concat(segments, 1);
}

SiteTensors LeftOut::filled() const {
  return {given_.site,
          given_.tokens,
          filled(given_.q, given_.tokens.query, -1),
          filled(given_.k, given_.tokens.key, 0),
          filled(given_.v, given_.tokens.key, 1),
          given_.context,
          given_.rotary};
}

Tensor LeftOut::cut(const Tensor& out) const {
  return picked(out, 1, places(given_.tokens.query, false));
}

Tensor LeftOut::attend() const {
  const std::vector<int64_t> queries = places(given_.tokens.query, false), keys = places(given_.tokens.key, true);
  const Tensor q = turned(given_.q, given_.rotary, queries);
  const Tensor k = turned(filled(given_.k, given_.tokens.key, 0), given_.rotary, keys);
  std::vector<AttentionResult> parts{softmax_of(given_, q, k, filled(given_.v, given_.tokens.key, 1), queries, keys)};
  for (const Reuse& reuse : left_out_) {
    if (reuse.held != Held::part) continue;
    const std::vector<Tensor>& part = of_bank(reuse);
    parts.push_back({part[0], part[1]});
  }
  return parts.size() == 1 ? parts[0].out : merge_attention(parts).out;
}

}  // namespace heddle
