// Commuting edits accumulate in a canonical order, ordered ones in the preset's, exclusive ones are settled.
#include "attention_control/plan/merge.h"

#include <algorithm>
#include <map>

#include "attention_control/plan/conflicts.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"

namespace heddle {
namespace {

bool all_equal(const Tensor& x, float value) {
  const std::vector<float> values = x.to_vector();
  return std::ranges::all_of(values, [&](float v) { return v == value; });
}

// An edit that changes nothing vanishes, so that a method at zero strength is the plain run, bit for bit.
bool neutral(const Edit& edit) {
  if (const auto* t = std::get_if<Temper>(&edit.verb)) return t->tau == 1;
  if (const auto* b = std::get_if<AddScore>(&edit.verb)) return !b->term.at_run_time && is_neutral(b->term.form);
  if (const auto* g = std::get_if<Gain>(&edit.verb)) return all_equal(g->factors, 1);
  if (const auto* b = std::get_if<AddBranch>(&edit.verb)) return b->weight == 0;
  if (const auto* w = std::get_if<Weigh>(&edit.verb)) return !w->at_run_time && w->constant == 1;
  if (const auto* t = std::get_if<Take>(&edit.verb))
    return t->lane.own() || (t->region.defined() && all_equal(t->region, 0));
  if (const auto* b = std::get_if<Blend>(&edit.verb))
    return b->weight == 0 || b->lane.own() || (b->region.defined() && all_equal(b->region, 0));
  return false;
}

bool is_ordered(const Edit& edit) {
  return std::holds_alternative<Shaping>(edit.verb) || std::holds_alternative<Blend>(edit.verb);
}

// Commuting edits by kind, method and text, so that sums and products are made in one order.
void put_in_order(std::vector<const Edit*>& edits) {
  std::ranges::stable_sort(edits, [](const Edit* a, const Edit* b) {
    if (is_ordered(*a) || is_ordered(*b)) return is_ordered(*a) < is_ordered(*b);
    return std::tuple(a->verb.index(), a->method, text_of(*a)) < std::tuple(b->verb.index(), b->method, text_of(*b));
  });
}

class Merger {
 public:
  explicit Merger(std::string place) : place_(std::move(place)) { program_->branches.emplace_back(); }

  std::shared_ptr<Program> operator()(std::vector<const Edit*> edits) {
    std::erase_if(edits, [](const Edit* edit) { return neutral(*edit); });
    if (edits.empty()) return nullptr;
    put_in_order(edits);
    drop_overruled<Take>(edits, [](const Edit& e) {
      const char* names[] = {"take q", "take k", "take v"};
      return e.branch + "|" + names[static_cast<int>(std::get<Take>(e.verb).role)];
    });
    drop_overruled<Rewrite>(edits, [](const Edit&) { return std::string("|rewrite the map"); });
    drop_overruled<AddBranch>(edits, [](const Edit& e) { return "|add branch " + std::get<AddBranch>(e.verb).name; });
    for (const Edit* edit : edits) add_branch(*edit);
    for (const Edit* edit : edits) apply(*edit);
    split_regions();
    describe(edits);
    return program_;
  }

 private:
  template <typename V, typename Claim>
  void drop_overruled(std::vector<const Edit*>& edits, Claim claim) {
    std::map<std::string, std::vector<const Edit*>> claims;
    for (const Edit* edit : edits) {
      if (std::holds_alternative<V>(edit->verb)) claims[claim(*edit)].push_back(edit);
    }
    for (const auto& [key, claimed] : claims) {
      const std::vector<const Edit*> kept = settle(claimed, key.substr(key.find('|') + 1), place_);
      std::erase_if(edits, [&](const Edit* edit) {
        return std::ranges::find(claimed, edit) != claimed.end() && std::ranges::find(kept, edit) == kept.end();
      });
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
      regional_.push_back(t);
    } else {
      to.takes[static_cast<size_t>(t.role)] = t.lane;
    }
  }
  void put(const Shaping& s, BranchProgram& to) { to.shapes.push_back(s); }
  void put(const Blend& b, BranchProgram&) { program_->blends.push_back(b); }
  void put(const Capture& c, BranchProgram&) {
    const bool known = std::ranges::any_of(program_->captures, [&](const Capture& other) {
      return other.name == c.name && other.keys == c.keys && other.raw == c.raw &&
             other.mean_over_heads == c.mean_over_heads;
    });
    if (!known) program_->captures.push_back(c);
  }
  void put(const Keep&, BranchProgram&) {}
  void put(const Reuse&, BranchProgram&) {}
  void put(const Rewrite& r, BranchProgram&) { program_->rewrite = r; }

  // A take in a region is a variant of the base branch that weighs 1 there, and base weighs 0 there.
  void split_regions() {
    std::vector<BranchProgram> variants;
    for (const Take& take : regional_) {
      const auto same = std::ranges::find_if(
          variants, [&](const BranchProgram& v) { return v.region.to_vector() == take.region.to_vector(); });
      BranchProgram& variant = same != variants.end() ? *same : variants.emplace_back(program_->branches[0]);
      variant.name = "base";
      variant.region = take.region;
      variant.takes[static_cast<size_t>(take.role)] = take.lane;
    }
    if (variants.empty()) return;
    Tensor outside = Tensor::full(variants[0].region.shape(), 1);
    for (const BranchProgram& v : variants) outside = subtract(outside, v.region);
    program_->branches[0].region = outside;
    program_->base_count += variants.size();
    program_->branches.insert(program_->branches.begin() + 1, variants.begin(), variants.end());
  }

  void describe(const std::vector<const Edit*>& edits) {
    for (const Edit* edit : edits) {
      program_->phrases.push_back(text_of(*edit) + " (" + edit->method + ")");
      program_->text += program_->phrases.back() + "\n";
    }
  }

  std::string place_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::vector<Take> regional_;
};

}  // namespace

std::shared_ptr<const Program> merge(const std::vector<NumberedEdit>& edits, const std::string& place) {
  std::vector<const Edit*> plain;
  for (const NumberedEdit& e : edits) plain.push_back(e.edit);
  const std::shared_ptr<Program> program = Merger(place)(plain);
  if (!program) return nullptr;
  for (const NumberedEdit& e : edits) program->edits.push_back(e.number);
  std::ranges::sort(program->edits);
  return program;
}

}  // namespace heddle
