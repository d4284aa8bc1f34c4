// Edits: the verbs of the attention plan as data. For one site and lane a plan is
//   out = sum_b w_b * softmax over the union of sources s of [scale q_b.k_s / tau + terms_s] * (g_s v_s),
// and every verb edits one field of it. Branch "base" is what the network itself would do.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "attention_control/plan/key_places.h"
#include "attention_control/plan/term.h"

namespace heddle {

enum class Role : uint8_t { q, k, v };

// The projections at a site, for functions that look at other lanes. Tensors are [R,N,H,D].
class LaneTensors {
 public:
  virtual ~LaneTensors() = default;
  virtual Tensor of(Role role, const LaneRef& lane) const = 0;     // unedited, as the kernel sees it
  virtual Tensor plain(Role role, const LaneRef& lane) const = 0;  // unedited, before rotary positions
  virtual Tensor map(const LaneRef& lane) const = 0;               // unedited probabilities [R,H,Nq,Nk], for rewrites
  virtual const TermPlace& place() const = 0;
};

// `text` names the function in explain; equal texts of one method are one function.
struct ShapeFn {
  std::string text;
  std::function<Tensor(const Tensor& x, const LaneTensors& lanes)> apply;
};

// Softmax temperature of the content scores, between two segments or (empty) all. Factors multiply.
struct Temper {
  double tau = 1;
  std::string query, key;
  // Between segments: the keys of each weigh in a query's softmax as much as they would without this temperature.
  bool keep_mass = false;
};
struct AddScore {
  Term term;
};
// Probabilities of keys times a factor after the softmax, not renormalised: factors [Nk] f32, for all rows.
struct Gain {
  std::string text;
  Tensor factors;
};
// More keys and values in the same softmax: those of another lane.
struct Extend {
  std::string text;
  LaneRef lane;
  double log_gain = 0;                // added to each of their scores
  double key_scale = 1;               // their keys times this
  std::vector<Term> terms = {};       // over the keys that are added
  std::string segment = {};           // only the keys of this segment; empty: all
  KeyPlaces places = KeyPlaces::own;  // of a segment's keys
};
// A softmax of its own, added with a weight. Queries, keys and values start as those of the base branch before its
// edits; edits address it by name.
struct AddBranch {
  std::string name;
  double weight = 1;
  bool identity = false;  // the output is v: every query looks at itself only
};
// The weight of a branch, for each query: [1|R,Nq] f32, or made at run time.
struct Weigh {
  std::string text;
  double constant = 1;
  std::function<Tensor(const TermPlace&)> at_run_time = {};
};
// q, k or v of another lane in place of one's own, for the queries of `region` ([Nq] of 0 and 1; undefined: all).
struct Take {
  Role role = Role::k;
  LaneRef lane;
  Tensor region = {};
  std::string segment = {};           // only the tokens of this segment; empty: all
  KeyPlaces places = KeyPlaces::own;  // of a segment's keys
};
// `plain`: of q or k before rotary positions, so before every other function on that role.
struct Shaping {
  Role role = Role::q;
  ShapeFn function;
  bool plain = false;
};
// The output moved towards another lane's: out + w (other - out), w [Nq] f32 or a constant.
struct Blend {
  LaneRef lane;
  double weight = 1;
  Tensor region = {};
};
// Columns of the map, read into captures. `raw`: of the network's own attention, before any edit. `within`: each head's
// probabilities among these keys alone, as if its softmax had no others.
struct Capture {
  std::string name;
  std::vector<int64_t> keys;         // positions among the site's keys
  std::vector<int64_t> within = {};  // empty: all
  bool mean_over_heads = true;
  bool raw = false;
  bool optional = false;  // where another method reuses the layer, this reads nothing instead of being refused
};
// What is kept of a layer.
enum class Held : uint8_t {
  result,  // what it adds to the residual (after its output projection)
  keys,    // k (before rotary positions) and v of one segment, before any edit
  part     // what the other queries get from one segment's keys, before any edit: the softmax over these keys alone and
           // its log-sum-exp
};
// Put into a slot; `combine` may first make one branch of guidance of them all, of each tensor that is kept, rows
// first.
struct Keep {
  std::string slot;
  std::string text;
  std::function<Tensor(const Tensor& kept, const std::vector<Lane>& lanes)> combine = {};
  Held held = Held::result;
  std::string segment = {};  // of keys and part
};
// The slot's content in place of the computation, for all lanes of the evaluation. A segment of which keys or part are
// held is left out by the network: its queries are not there, at this site and at all behind it.
struct Reuse {
  std::string slot;
  std::vector<std::string> absorbs = {};  // methods whose edits the kept result already carries
  Held held = Held::result;
  std::string segment = {};
};
// q, k or v of one lane put into a slot under the step and stage of the evaluation, q and k before rotary positions.
struct Store {
  Role role = Role::v;
  std::string slot;
  std::vector<int64_t> tokens = {};  // which; empty: all
  DType dtype = DType::f32;          // in which they wait
};
// What Store put under the same step and stage in another pass, `weight` of it in place of as much of one's own, or
// added to it. Where that pass made no such evaluation (FireFlow's steps after the first have one), one's own stays.
struct Recall {
  Role role = Role::v;
  std::string slot;
  std::vector<int64_t> tokens = {};  // those that were stored
  double weight = 1;
  bool add = false;
};
// Any function of the full map [R,H,Nq,Nk]; it costs the reference path, for a stated reason.
struct Rewrite {
  std::string reason;
  std::function<Tensor(const Tensor& probabilities, const LaneTensors& lanes)> apply;
};

using Verb = std::variant<Temper, AddScore, Gain, Extend, AddBranch, Weigh, Take, Shaping, Blend, Capture, Keep, Reuse,
                          Rewrite, Store, Recall>;

struct Edit {
  std::string method;  // who asks
  std::string where;   // the line of the preset, for errors
  std::string over;    // a method whose exclusive claims give way to this one's
  int site = 0;        // depth
  LaneSelect lanes;
  Steps steps;
  Passes passes{Pass::denoise, Pass::guide};
  std::string branch = "base";
  Verb verb;
};

std::string text_of(const Edit& edit);  // one phrase for explain

}  // namespace heddle
