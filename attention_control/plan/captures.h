// Captures: maps that the plan has read in one evaluation, for losses, masks and pictures.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "attention_control/plan/lane.h"
#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"

namespace heddle {

struct AttentionMap {
  AttentionSite site;
  SiteTokens tokens;
  Lane lane;
  std::vector<int64_t> keys;  // the columns that were read, positions among the site's keys
  Tensor values;              // [R,Nq,T], mean over heads, or [R,H,Nq,T]; f32 probabilities
};

class Captures {
 public:
  void add(const std::string& name, AttentionMap map) { maps_[name].push_back(std::move(map)); }
  const std::vector<AttentionMap>& at(const std::string& name) const {
    static const std::vector<AttentionMap> none;
    const auto found = maps_.find(name);
    return found == maps_.end() ? none : found->second;
  }
  void clear() { maps_.clear(); }

 private:
  std::map<std::string, std::vector<AttentionMap>> maps_;  // in the order of evaluation
};

}  // namespace heddle
