// Edits in words.
#include "attention_control/plan/edit.h"

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

std::string lane_text(const LaneRef& ref) {
  std::string text;
  if (ref.member) text = "member " + std::to_string(*ref.member);
  if (ref.branch) text += (text.empty() ? "" : ", ") + name_of(*ref.branch);
  return text.empty() ? "itself" : text;
}

const char* role_text(Role role) {
  return role == Role::q ? "q" : role == Role::k ? "k" : "v";
}

std::string tokens_text(const std::vector<int64_t>& tokens) {
  return tokens.empty() ? "" : " of " + std::to_string(tokens.size()) + (tokens.size() == 1 ? " token" : " tokens");
}

std::string keys_text(const std::vector<int64_t>& keys) {
  return std::to_string(keys.size()) + (keys.size() == 1 ? " key" : " keys");
}

std::string held_text(Held held, const std::string& segment) {
  return held == Held::result ? "" : (held == Held::keys ? " k, v of " : " softmax part of ") + segment;
}

std::string places_text(KeyPlaces places) {
  return places == KeyPlaces::own ? "" : places == KeyPlaces::centre ? ", all at the centre" : ", beside the grid";
}

struct Phrase {
  std::string operator()(const Temper& t) const {
    const std::string where = t.query.empty() && t.key.empty() ? "" : " of " + t.query + " at " + t.key;
    return "temper " + number(t.tau) + where + (t.keep_mass ? ", mass kept" : "");
  }
  std::string operator()(const AddScore& b) const { return b.term.text; }
  std::string operator()(const Gain& g) const { return g.text; }
  std::string operator()(const Extend& e) const {
    std::string text = "extend by " + e.text + places_text(e.places);
    if (e.log_gain != 0) text += ", bias " + number(e.log_gain);
    if (e.key_scale != 1) text += ", keys times " + number(e.key_scale);
    return text;
  }
  std::string operator()(const AddBranch& b) const {
    return "branch " + b.name + (b.identity ? " (identity)" : "") + " times " + number(b.weight);
  }
  std::string operator()(const Weigh& w) const { return w.text.empty() ? "weight " + number(w.constant) : w.text; }
  std::string operator()(const Take& t) const {
    return std::string("take ") + role_text(t.role) + (t.segment.empty() ? "" : " of " + t.segment) + " from " +
           lane_text(t.lane) + places_text(t.places) + (t.region.defined() ? " in a region" : "");
  }
  std::string operator()(const Shaping& s) const {
    return s.function.text + " on " + role_text(s.role) + (s.plain ? ".plain" : "");
  }
  std::string operator()(const Blend& b) const {
    return "blend " + number(b.weight) + " of " + lane_text(b.lane) + (b.region.defined() ? " in a region" : "");
  }
  std::string operator()(const Capture& c) const {
    return "capture " + c.name + ", " + keys_text(c.keys) +
           (c.within.empty() ? "" : " among " + std::to_string(c.within.size())) + (c.raw ? ", raw" : "") +
           (c.mean_over_heads ? "" : ", each head");
  }
  std::string operator()(const Keep& k) const {
    return "keep " + k.slot + held_text(k.held, k.segment) + (k.text.empty() ? "" : " (" + k.text + ")");
  }
  std::string operator()(const Reuse& r) const { return "reuse " + r.slot + held_text(r.held, r.segment); }
  std::string operator()(const Rewrite& r) const { return "rewrite the map: " + r.reason; }
  std::string operator()(const Store& s) const {
    return std::string("store ") + role_text(s.role) + tokens_text(s.tokens) + " as " + std::string(name_of(s.dtype)) +
           " in " + s.slot;
  }
  std::string operator()(const Recall& r) const {
    return (r.add ? "add " : "recall ") + (r.weight == 1 ? "" : number(r.weight) + " of ") + role_text(r.role) +
           tokens_text(r.tokens) + " from " + r.slot;
  }
};

}  // namespace

std::string text_of(const Edit& edit) {
  const std::string branch = edit.branch == "base" ? "" : edit.branch + ": ";
  return branch + std::visit(Phrase{}, edit.verb);
}

}  // namespace heddle
