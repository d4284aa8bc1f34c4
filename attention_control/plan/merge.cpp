// Commuting edits accumulate in a canonical order, ordered ones in the preset's, exclusive ones are settled.
#include "attention_control/plan/merge.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "attention_control/plan/conflicts.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

bool all_equal(const Tensor& x, float value) {
  const std::vector<float> values = x.to_vector();
  return std::ranges::all_of(values, [&](float v) { return v == value; });
}

}  // namespace

// An edit that changes nothing vanishes, so that a method at zero strength is the plain run, bit for bit.
bool is_neutral(const Edit& edit) {
  if (const auto* t = std::get_if<Temper>(&edit.verb)) return t->tau == 1;
  if (const auto* b = std::get_if<AddScore>(&edit.verb)) return !b->term.at_run_time && is_neutral(b->term.form);
  if (const auto* g = std::get_if<Gain>(&edit.verb)) return all_equal(g->factors, 1);
  if (const auto* b = std::get_if<AddBranch>(&edit.verb)) return b->weight == 0;
  if (const auto* w = std::get_if<Weigh>(&edit.verb)) return !w->at_run_time && w->constant == 1;
  if (const auto* t = std::get_if<Take>(&edit.verb))
    return t->lane.own() || (t->region.defined() && all_equal(t->region, 0));
  if (const auto* r = std::get_if<Recall>(&edit.verb)) return r->weight == 0;
  if (const auto* b = std::get_if<Blend>(&edit.verb))
    return b->weight == 0 || b->lane.own() || (b->region.defined() && all_equal(b->region, 0));
  return false;
}

namespace {

bool is_ordered(const Edit& edit) {
  return std::holds_alternative<Shaping>(edit.verb) || std::holds_alternative<Blend>(edit.verb);
}

// An edit of a branch that nobody adds with a weight has nothing to act on.
bool on_vanished_branch(const Edit& edit, const std::vector<NumberedEdit>& all) {
  bool added = false;
  for (const NumberedEdit& other : all) {
    const auto* branch = std::get_if<AddBranch>(&other.edit->verb);
    if (branch == nullptr || branch->name != edit.branch) continue;
    if (branch->weight != 0) return false;
    added = true;
  }
  return added;
}

// Commuting edits by kind, method and text, so that sums and products are made in one order.
void put_in_order(std::vector<const Edit*>& edits) {
  std::ranges::stable_sort(edits, [](const Edit* a, const Edit* b) {
    if (is_ordered(*a) || is_ordered(*b)) return is_ordered(*a) < is_ordered(*b);
    return std::tuple(a->verb.index(), a->method, text_of(*a)) < std::tuple(b->verb.index(), b->method, text_of(*b));
  });
}

// Regions of different roles may overlap: a branch becomes one variant for each set of takes that hold together
// somewhere, which weighs 1 there and 0 elsewhere.
std::vector<BranchProgram> in_regions(const BranchProgram& branch, const std::vector<Take>& takes) {
  const Shape shape = takes.front().region.shape();
  std::vector<std::vector<bool>> holds(static_cast<size_t>(shape.count()), std::vector<bool>(takes.size()));
  for (size_t t = 0; t < takes.size(); ++t) {
    const std::vector<float> inside = takes[t].region.to_vector();
    if (inside.size() != holds.size())
      fail(ErrorCode::internal, "plan", "regions of " + std::to_string(holds.size()) + " queries",
           takes[t].region.shape().text());
    for (size_t i = 0; i < inside.size(); ++i) holds[i][t] = inside[i] != 0;
  }
  const std::set<std::vector<bool>> sets(holds.begin(), holds.end());
  std::vector<BranchProgram> out;
  for (const std::vector<bool>& set : sets) {  // the one without any take first
    BranchProgram& variant = out.emplace_back(branch);
    for (size_t t = 0; t < takes.size(); ++t) {
      if (set[t]) variant.takes.push_back(takes[t]);
    }
    if (sets.size() == 1) break;  // one region that is everywhere
    std::vector<float> weight(holds.size());
    std::ranges::transform(holds, weight.begin(), [&](const auto& h) { return h == set ? 1.0f : 0.0f; });
    variant.region = Tensor::from(std::span<const float>(weight), shape);
  }
  return out;
}

class Merger {
 public:
  explicit Merger(std::string place) : place_(std::move(place)) { program_->branches.emplace_back(); }

  // Takes away from `edits` those that others overrule.
  std::shared_ptr<Program> operator()(std::vector<const Edit*>& edits) {
    put_in_order(edits);
    drop_overruled(edits, replaced_role);
    drop_overruled(edits, [](const Edit& e) {
      return std::holds_alternative<Rewrite>(e.verb) ? std::string("|rewrite the map") : std::string();
    });
    drop_branches(edits);
    for (const Edit* edit : edits) add_branch(*edit);
    for (const Edit* edit : edits) apply(*edit);
    split_regions();
    describe(edits);
    return program_;
  }

 private:
  // Whose q, k or v it is: taken from a lane or recalled.
  static std::string replaced_role(const Edit& edit) {
    const char* names[] = {"take q", "take k", "take v"};
    const auto* take = std::get_if<Take>(&edit.verb);
    const auto* recall = std::get_if<Recall>(&edit.verb);
    if (take == nullptr && recall == nullptr) return {};
    return edit.branch + "|" + names[static_cast<int>(take != nullptr ? take->role : recall->role)];
  }

  // `claim`: what an edit has for itself alone; empty for nothing.
  template <typename Claim>
  void drop_overruled(std::vector<const Edit*>& edits, Claim claim) {
    std::map<std::string, std::vector<const Edit*>> claims;
    for (const Edit* edit : edits) {
      if (const std::string what = claim(*edit); !what.empty()) claims[what].push_back(edit);
    }
    for (const auto& [key, claimed] : claims) {
      const std::vector<const Edit*> kept = settle(claimed, key.substr(key.find('|') + 1), place_);
      std::erase_if(edits, [&](const Edit* edit) {
        return std::ranges::find(claimed, edit) != claimed.end() && std::ranges::find(kept, edit) == kept.end();
      });
    }
  }

  // Of two branches of one name one stands; the edits that its loser's method made on it go with the loser.
  void drop_branches(std::vector<const Edit*>& edits) {
    const std::vector<const Edit*> before = edits;
    drop_overruled(edits, [](const Edit& e) {
      const auto* added = std::get_if<AddBranch>(&e.verb);
      return added != nullptr ? "|add branch " + added->name : std::string();
    });
    for (const Edit* lost : before) {
      const auto* added = std::get_if<AddBranch>(&lost->verb);
      if (added == nullptr || std::ranges::find(edits, lost) != edits.end()) continue;
      std::erase_if(edits, [&](const Edit* e) { return e->branch == added->name && e->method == lost->method; });
    }
  }

  BranchProgram& branch(const Edit& edit) {
    for (BranchProgram& b : program_->branches) {
      if (b.name == edit.branch) return b;
    }
    fail(ErrorCode::usage, edit.where + " " + edit.method, "a branch of " + place_, "\"" + edit.branch + "\"");
  }

  void add_branch(const Edit& edit) {
    const auto* added = std::get_if<AddBranch>(&edit.verb);
    if (added == nullptr) return;
    BranchProgram b;
    b.name = added->name;
    b.identity = added->identity;
    b.weight = added->weight;
    program_->branches.push_back(std::move(b));
  }

  void apply(const Edit& edit) {
    BranchProgram& to = branch(edit);
    const bool whole = std::holds_alternative<Blend>(edit.verb) || std::holds_alternative<Capture>(edit.verb) ||
                       std::holds_alternative<Rewrite>(edit.verb) || std::holds_alternative<Store>(edit.verb);
    if (whole && edit.branch != "base")
      fail(ErrorCode::usage, edit.where + " " + edit.method, text_of(edit) + " at the base branch",
           "\"" + edit.branch + "\"");
    std::visit([&](const auto& verb) { put(verb, to); }, edit.verb);
  }

  void put(const Temper& t, BranchProgram& to) {
    if (t.query.empty() && t.key.empty()) {
      to.tau *= t.tau;
    } else {
      to.segment_tempers.push_back(t);
    }
  }
  void put(const AddScore& b, BranchProgram& to) { to.terms.push_back(b.term); }
  void put(const Gain& g, BranchProgram& to) { to.gains.push_back(g); }
  void put(const Extend& e, BranchProgram& to) { to.extends.push_back(e); }
  void put(const AddBranch&, BranchProgram&) {}
  void put(const Weigh& w, BranchProgram& to) {
    to.weight *= w.constant;
    if (w.at_run_time) to.weights.push_back(w);
  }
  void put(const Take& t, BranchProgram& to) {
    if (t.region.defined()) {
      regional_[to.name].push_back(t);
    } else {
      to.takes.push_back(t);
    }
  }
  void put(const Shaping& s, BranchProgram& to) { to.shapes.push_back(s); }
  void put(const Blend& b, BranchProgram&) { program_->blends.push_back(b); }
  void put(const Capture& c, BranchProgram&) {
    const bool known = std::ranges::any_of(program_->captures, [&](const Capture& other) {
      return other.name == c.name && other.keys == c.keys && other.within == c.within && other.raw == c.raw &&
             other.mean_over_heads == c.mean_over_heads;
    });
    if (!known) program_->captures.push_back(c);
  }
  void put(const Keep&, BranchProgram&) {}
  void put(const Reuse&, BranchProgram&) {}
  void put(const Rewrite& r, BranchProgram&) { program_->rewrite = r; }
  void put(const Store& s, BranchProgram&) { program_->stores.push_back(s); }
  void put(const Recall& r, BranchProgram& to) { to.recalls[static_cast<size_t>(r.role)] = r; }

  void split_regions() {
    std::vector<BranchProgram> branches;
    for (BranchProgram& b : program_->branches) {
      const auto found = regional_.find(b.name);
      std::vector<BranchProgram> variants =
          found == regional_.end() ? std::vector{std::move(b)} : in_regions(b, found->second);
      if (branches.empty()) program_->base_count = variants.size();
      std::ranges::move(variants, std::back_inserter(branches));
    }
    program_->branches = std::move(branches);
  }

  void describe(const std::vector<const Edit*>& edits) {
    for (const Edit* edit : edits) {
      program_->phrases.push_back(text_of(*edit) + " (" + edit->method + ")");
      program_->text += program_->phrases.back() + "\n";
    }
  }

  std::string place_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::map<std::string, std::vector<Take>> regional_;  // by branch
};

}  // namespace

std::vector<NumberedEdit> effective(const std::vector<NumberedEdit>& edits) {
  std::vector<NumberedEdit> out;
  for (const NumberedEdit& e : edits) {
    if (!is_neutral(*e.edit) && !on_vanished_branch(*e.edit, edits)) out.push_back(e);
  }
  return out;
}

std::shared_ptr<const Program> merge(const std::vector<NumberedEdit>& edits, const std::string& place) {
  const std::vector<NumberedEdit> numbered = effective(edits);
  if (numbered.empty()) return nullptr;
  std::vector<const Edit*> kept;
  for (const NumberedEdit& e : numbered) kept.push_back(e.edit);
  const std::shared_ptr<Program> program = Merger(place)(kept);
  for (const NumberedEdit& e : numbered) {
    if (std::ranges::find(kept, e.edit) != kept.end()) program->edits.push_back(e.number);
  }
  std::ranges::sort(program->edits);
  return program;
}

}  // namespace heddle
