// The metrics, each a small function of a pair of runs.
#include "promises/metrics.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace heddle {

const JudgedPicture& Outcome::result() const {
  const JudgedPicture* target = member("target");
  return target != nullptr ? *target : pictures.front();
}

const JudgedPicture* Outcome::member(const std::string& name) const {
  const auto found = std::ranges::find(members, name);
  return found == members.end() ? nullptr : &pictures[static_cast<size_t>(found - members.begin())];
}

const JudgedPicture* Pair::begun_from() const {
  return source ? &source->result() : method ? method->member("source") : nullptr;
}

namespace {

using Subjects = std::vector<WantedSubject>;
using Value = std::optional<double>;
using Box = std::array<double, 4>;

// The surest object of this name; of these in the wanted colour where there is one.
const SeenObject* find(const SeenPicture& verdict, const WantedSubject& wanted) {
  const SeenObject* best = nullptr;
  for (const SeenObject& o : verdict.objects) {
    if (o.subject != wanted.name) continue;
    if (o.colour == wanted.colour) return &o;
    if (best == nullptr) best = &o;
  }
  return best;
}

bool has_colour(const SeenObject& seen, const WantedSubject& wanted) {
  return wanted.colour.empty() || seen.colour == wanted.colour;
}

// Subjects as the picture ought to show them: after the edit, where there is one.
const Subjects& wanted_subjects(const Pair& pair) {
  return pair.wanted.edited_subjects;
}

// Whether there is an object for each of the wanted subjects up to and with this one that have its name.
bool is_present(const Subjects& wanted, size_t which, const SeenPicture& verdict) {
  const std::string& name = wanted[which].name;
  const auto need = std::count_if(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(which) + 1,
                                  [&](const WantedSubject& w) { return w.name == name; });
  return std::ranges::count(verdict.objects, name, &SeenObject::subject) >= need;
}

Value share_present(const Pair& pair, const Outcome& outcome) {
  const Subjects& wanted = wanted_subjects(pair);
  double found = 0;
  for (size_t i = 0; i < wanted.size(); ++i) found += is_present(wanted, i, outcome.result().verdict);
  return found / static_cast<double>(wanted.size());
}

Value all_present(const Pair& pair, const Outcome& outcome) {
  return *share_present(pair, outcome) == 1;
}

Value bound(const Pair& pair, const Outcome& outcome) {
  return std::ranges::all_of(wanted_subjects(pair), [&](const WantedSubject& w) {
    const SeenObject* seen = find(outcome.result().verdict, w);
    return seen != nullptr && has_colour(*seen, w);
  });
}

// Of the painted subjects that are there, whether all have their colour.
Value colour_right(const Pair& pair, const Outcome& outcome) {
  Value right;
  for (const WantedSubject& w : wanted_subjects(pair)) {
    const SeenObject* seen = find(outcome.result().verdict, w);
    if (!w.colour.empty() && seen != nullptr) right = right.value_or(1) * (has_colour(*seen, w) ? 1 : 0);
  }
  return right;
}

Value background_right(const Pair& pair, const Outcome& outcome) {
  return outcome.result().verdict.background == pair.wanted.edited_background;
}

Value nothing_else(const Pair& pair, const Outcome& outcome) {
  return outcome.result().verdict.objects.size() <= wanted_subjects(pair).size();
}

Value well_formed(const Pair&, const Outcome& outcome) {
  return std::ranges::none_of(outcome.result().verdict.objects,
                              [](const SeenObject& o) { return o.subject == unknown_name; });
}

Value relation_right(const Pair& pair, const Outcome& outcome) {
  const std::string& relation = pair.wanted.relation;
  if (relation.empty() || relation == "and") return std::nullopt;
  const SeenObject* a = find(outcome.result().verdict, pair.wanted.subjects[0]);
  const SeenObject* b = find(outcome.result().verdict, pair.wanted.subjects[1]);
  if (a == nullptr || b == nullptr) return std::nullopt;
  const double dx = (a->box[0] + a->box[2] - b->box[0] - b->box[2]) / 2;
  const double dy = (a->box[1] + a->box[3] - b->box[1] - b->box[3]) / 2;
  if (relation == "left of") return dx < 0 && -dx > std::abs(dy);
  if (relation == "right of") return dx > 0 && dx > std::abs(dy);
  if (relation == "above") return dy < 0 && -dy > std::abs(dx);
  return dy > 0 && dy > std::abs(dx);
}

double area(const Box& b) {
  return std::max(b[2] - b[0], 0.0) * std::max(b[3] - b[1], 0.0);
}

// Share of a seen box that lies in the asked one, which is told in shares of the picture.
double inside(const Box& seen, const Box& asked, const Image& image) {
  const Box in{std::max(seen[0], asked[0] * image.width), std::max(seen[1], asked[1] * image.height),
               std::min(seen[2], asked[2] * image.width), std::min(seen[3], asked[3] * image.height)};
  return area(seen) > 0 ? area(in) / area(seen) : 0;
}

// Of the subjects that are there, the share that stands in its box: some object of its name has four fifths of its
// area inside.
Value in_box(const Pair& pair, const Outcome& outcome) {
  double there = 0, right = 0;
  for (const WantedSubject& w : wanted_subjects(pair)) {
    double best = -1;
    for (const SeenObject& o : outcome.result().verdict.objects) {
      if (o.subject == w.name) best = std::max(best, inside(o.box, w.box, outcome.result().image));
    }
    there += best >= 0;
    right += best >= 0.8;
  }
  return there > 0 ? Value(right / there) : std::nullopt;
}

Value all_in_box(const Pair& pair, const Outcome& outcome) {
  return std::ranges::all_of(wanted_subjects(pair), [&](const WantedSubject& w) {
    return std::ranges::any_of(outcome.result().verdict.objects, [&](const SeenObject& o) {
      return o.subject == w.name && inside(o.box, w.box, outcome.result().image) >= 0.8;
    });
  });
}

bool within_any(const std::vector<SeenObject>& objects, int x, int y, double margin) {
  return std::ranges::any_of(objects, [&](const SeenObject& o) {
    return x >= o.box[0] - margin && x < o.box[2] + margin && y >= o.box[1] - margin && y < o.box[3] + margin;
  });
}

// Mean of `of` (difference of two values, as a share of the range) over the pixels that lie in no object of the source
// or of `now`.
template <typename Of>
Value mean_outside(const Pair& pair, const JudgedPicture& now, Of of) {
  const JudgedPicture* source = pair.begun_from();
  if (source == nullptr || source->image.pixels.size() != now.image.pixels.size()) return std::nullopt;
  double total = 0, count = 0;
  for (int y = 0; y < now.image.height; ++y) {
    for (int x = 0; x < now.image.width; ++x) {
      if (within_any(source->verdict.objects, x, y, 3) || within_any(now.verdict.objects, x, y, 3)) continue;
      const size_t at = (static_cast<size_t>(y) * static_cast<size_t>(now.image.width) + static_cast<size_t>(x)) * 3;
      for (size_t c = 0; c < 3; ++c)
        total += of((int{now.image.pixels[at + c]} - int{source->image.pixels[at + c]}) / 255.0);
      count += 3;
    }
  }
  return count > 0 ? Value(total / count) : std::nullopt;
}

// A picture that does not show what it was to show cannot be edited as asked.
bool begins_right(const Pair& pair) {
  if (!pair.source) return true;
  const SeenObject* seen = find(pair.source->result().verdict, pair.wanted.subjects[0]);
  return seen != nullptr && has_colour(*seen, pair.wanted.subjects[0]);
}

Value change_outside(const Pair& pair, const Outcome& outcome) {
  return mean_outside(pair, outcome.result(), [](double d) { return std::abs(d); });
}

// Peak signal to noise ratio in dB, 100 at most.
Value background_psnr(const Pair& pair, const Outcome& outcome) {
  if (!begins_right(pair)) return std::nullopt;
  const Value square = mean_outside(pair, outcome.result(), [](double d) { return d * d; });
  return square ? Value(-10 * std::log10(std::max(*square, 1e-10))) : std::nullopt;
}

// What was to change has changed, and to what was asked.
Value edited(const Pair& pair, const Outcome& outcome) {
  const Case& c = pair.wanted;
  const SeenPicture& verdict = outcome.result().verdict;
  const SeenObject* seen = find(verdict, c.edited_subjects[0]);
  if (c.edit == EditedPart::none || !begins_right(pair)) return std::nullopt;
  if (c.edit == EditedPart::background) return verdict.background == c.edited_background && seen != nullptr;
  const bool gone = c.edit == EditedPart::colour || find(verdict, c.subjects[0]) == nullptr;
  return gone && seen != nullptr && has_colour(*seen, c.edited_subjects[0]);
}

// The subject stands where the source's does: its box overlaps that by more than a half.
Value place_kept(const Pair& pair, const Outcome& outcome) {
  const JudgedPicture* source = pair.begun_from();
  if (source == nullptr) return std::nullopt;
  const SeenObject* before = find(source->verdict, pair.wanted.subjects[0]);
  const SeenObject* after = find(outcome.result().verdict, pair.wanted.edited_subjects[0]);
  if (before == nullptr || after == nullptr) return std::nullopt;
  return box_overlap(before->box, after->box) > 0.5;
}

// Both at once, where the background may change by 25 dB at most.
Value edited_in_place(const Pair& pair, const Outcome& outcome) {
  const Value done = edited(pair, outcome), kept = background_psnr(pair, outcome);
  return done && kept ? Value(*done == 1 && *kept >= 25) : std::nullopt;
}

// Variance between the pictures of a run of their backgrounds' mean colours, channels added, in squared shares of the
// range.
Value style_variance(const Pair&, const Outcome& outcome) {
  if (outcome.pictures.size() < 2) return std::nullopt;
  std::vector<std::array<double, 3>> means;
  for (const JudgedPicture& p : outcome.pictures) {
    std::array<double, 3> sum{};
    double count = 0;
    for (int y = 0; y < p.image.height; ++y) {
      for (int x = 0; x < p.image.width; ++x) {
        if (within_any(p.verdict.objects, x, y, 3)) continue;
        const size_t at = (static_cast<size_t>(y) * static_cast<size_t>(p.image.width) + static_cast<size_t>(x)) * 3;
        for (size_t c = 0; c < 3; ++c) sum[c] += p.image.pixels[at + c] / 255.0;
        ++count;
      }
    }
    if (count == 0) return std::nullopt;
    means.push_back({sum[0] / count, sum[1] / count, sum[2] / count});
  }
  double variance = 0;
  for (size_t c = 0; c < 3; ++c) {
    double mean = 0;
    for (const auto& m : means) mean += m[c] / static_cast<double>(means.size());
    for (const auto& m : means) variance += (m[c] - mean) * (m[c] - mean) / static_cast<double>(means.size() - 1);
  }
  return variance;
}

// Of the pictures after the first, the share whose background is the first's prompt's.
Value same_background(const Pair& pair, const Outcome& outcome) {
  if (outcome.pictures.size() < 2) return std::nullopt;
  double same = 0;
  for (size_t i = 1; i < outcome.pictures.size(); ++i)
    same += outcome.pictures[i].verdict.background == pair.wanted.background;
  return same / static_cast<double>(outcome.pictures.size() - 1);
}

// Of a set's pictures, the share that shows the subject of its own prompt: the noun that ends it.
Value set_present(const Pair& pair, const Outcome& outcome) {
  if (outcome.pictures.size() != pair.wanted.set.size() || pair.wanted.set.empty()) return std::nullopt;
  double there = find(outcome.pictures[0].verdict, pair.wanted.subjects[0]) != nullptr;
  for (size_t i = 1; i < pair.wanted.set.size(); ++i) {
    const std::string& prompt = pair.wanted.set[i];
    const std::string name = prompt.substr(prompt.rfind(' ') + 1);
    there += std::ranges::any_of(outcome.pictures[i].verdict.objects,
                                 [&](const SeenObject& o) { return o.subject == name; });
  }
  return there / static_cast<double>(pair.wanted.set.size());
}

}  // namespace

const std::vector<Metric>& metrics() {
  constexpr auto rate = MetricKind::rate, amount = MetricKind::amount;
  static const std::vector<Metric> all{
      {"all_present", rate, true, "every subject of the prompt is seen", all_present},
      {"share_present", amount, true, "share of the prompt's subjects that are seen", share_present},
      {"bound", rate, true, "every subject is seen, and in its own colour", bound},
      {"colour_right", rate, true, "of the painted subjects that are seen, all have their colour", colour_right},
      {"background_right", rate, true, "the background is the prompt's", background_right},
      {"nothing_else", rate, true, "no more objects than subjects", nothing_else},
      {"well_formed", rate, true, "the judge can name every object", well_formed},
      {"relation_right", rate, true, "both seen subjects stand as the prompt says", relation_right},
      {"in_box", amount, true, "share of the seen subjects with four fifths of their area in their box", in_box},
      {"all_in_box", rate, true, "every subject is seen, with four fifths of its area in its box", all_in_box},
      {"change_outside", amount, false, "mean change of pixels outside objects against the source, of the range",
       change_outside},
      {"background_psnr", amount, true, "PSNR in dB of pixels outside objects against the source", background_psnr},
      {"edited_in_place", rate, true, "edited, with 25 dB at least outside objects", edited_in_place},
      {"edited", rate, true, "what was to change has become what was asked", edited},
      {"place_kept", rate, true, "the edited subject stands where the source's does (overlap over a half)", place_kept},
      {"style_variance", amount, false, "variance of background colour between a set's pictures", style_variance},
      {"same_background", amount, true, "share of a set's later pictures on the first prompt's background",
       same_background},
      {"set_present", amount, true, "share of a set's pictures that show their own subject", set_present}};
  return all;
}

const Metric& metric_named(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const Metric& m : metrics()) {
    if (m.name == name) return m;
    known.push_back(m.name);
  }
  fail(ErrorCode::usage, where, "a metric (" + one_of(known).text() + ")", "\"" + name + "\"",
       nearest_word(name, known));
}

}  // namespace heddle
