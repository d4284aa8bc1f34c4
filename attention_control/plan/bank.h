// Bank: what a run keeps of attention for later: results of layers or of segments, and projections stored at one
// evaluation to be recalled at its counterpart in another pass.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "attention_control/plan/edit.h"

namespace heddle {

// Which projection of which evaluation: steps are counted from noise in both directions, so that an interval between
// two levels has one number.
struct StoredKey {
  std::string slot;
  int site = 0;
  Role role = Role::v;
  int step = 0, stage = 0;
  auto operator<=>(const StoredKey&) const = default;
};

class Bank {
 public:
  // What Keep asks for, by slot and site: one result, k and v, or a softmax and its log-sum-exp. A slot has one content
  // at a time.
  void put(const std::string& slot, int site, std::vector<Tensor> value) { kept_[{slot, site}] = std::move(value); }
  const std::vector<Tensor>& at(const std::string& slot, int site) const;  // Error(internal) where nothing was kept
  void drop_kept(const std::function<bool(const std::string& slot, int site)>& unread);

  // Projections [R,N,H,D]; an evaluation that is repeated leaves its last.
  void store(const StoredKey& key, Tensor value) { stored_[key] = std::move(value); }
  const Tensor* find(const StoredKey& key) const;  // null where that evaluation was not made
  void drop_stored(int step);                      // and what is noisier: the run has passed it

  void clear() { kept_.clear(), stored_.clear(); }
  int64_t bytes() const;

 private:
  std::map<std::pair<std::string, int>, std::vector<Tensor>> kept_;
  std::map<StoredKey, Tensor> stored_;
};

}  // namespace heddle
