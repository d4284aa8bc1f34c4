// What the bank holds.
#include "attention_control/plan/bank.h"

#include "kernels/core/error.h"

namespace heddle {

const std::vector<Tensor>& Bank::at(const std::string& slot, int site) const {
  const auto found = kept_.find({slot, site});
  if (found == kept_.end())
    fail(ErrorCode::internal, "bank", "slot " + slot + " of site " + std::to_string(site), "nothing kept");
  return found->second;
}

void Bank::drop_kept(const std::function<bool(const std::string& slot, int site)>& unread) {
  std::erase_if(kept_, [&](const auto& entry) { return unread(entry.first.first, entry.first.second); });
}

const Tensor* Bank::find(const StoredKey& key) const {
  const auto found = stored_.find(key);
  return found == stored_.end() ? nullptr : &found->second;
}

void Bank::drop_stored(int step) {
  std::erase_if(stored_, [step](const auto& entry) { return entry.first.step <= step; });
}

int64_t Bank::bytes() const {
  int64_t total = 0;
  for (const auto& [key, values] : kept_) {
    for (const Tensor& value : values) total += value.count() * size_of(value.dtype());
  }
  for (const auto& [key, value] : stored_) total += value.count() * size_of(value.dtype());
  return total;
}

}  // namespace heddle
