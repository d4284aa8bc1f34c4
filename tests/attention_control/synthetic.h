// Random edits of every verb on a made-up run: what methods might ask for, without being methods.
#pragma once

#include <limits>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "tests/attention_control/small_run.h"

namespace heddle::testing {

class Synthetic {
 public:
  explicit Synthetic(uint64_t seed) : random_(seed) {}

  static constexpr int verbs = 21;

  // Declares verb number `verb` at a random site, lane and run of steps.
  void declare(PlanBuilder& plan, int verb) {
    const auto sites = static_cast<int64_t>(plan.run().sites.size());
    SiteScope here = site_at(plan, static_cast<int>(below(sites)));
    switch (below(4)) {
      case 0:
        here = here.lane(Branch::cond);
        break;
      case 1:
        here = here.lane(Branch::cond).member(static_cast<int>(below(2)));
        break;
      case 2:
        here = here.member(static_cast<int>(below(2)));
        break;
      default:
        break;
    }
    if (below(3) == 0) here = here.during({0, 5});
    put(here, verb);
  }

  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }

 private:
  static constexpr float forbidden = -std::numeric_limits<float>::infinity();

  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(below(1001)) / 1000; }
  Tensor values(const Shape& shape, double deviation = 1) { return random_tensor(shape, random_(), deviation); }
  Tensor labels(int64_t rows, int64_t count, int64_t of) {
    std::vector<int64_t> out(static_cast<size_t>(rows * count));
    for (int64_t& label : out) label = below(of);
    return Tensor::from(std::span<const int64_t>(out), {rows, count});
  }
  Tensor region(int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    for (float& v : out) v = below(3) == 0 ? 1.0f : 0.0f;
    return Tensor::from(std::span<const float>(out), {count});
  }
  std::string text() { return "made " + std::to_string(random_() % 1000000); }
  static LaneRef source() { return {.branch = {}, .member = 0}; }

  Term mask(int64_t queries, int64_t keys) {
    std::vector<float> table(12);
    for (float& v : table) v = below(3) == 0 ? forbidden : static_cast<float>(uniform(-1, 1));
    return {
        .text = text(),
        .form = Labels{labels(1, queries, 3), labels(1, keys, 4), Tensor::from(std::span<const float>(table), {3, 4})},
        .at_run_time = {},
        .empty_rows_are_zero = true};
  }

  Term made_for_rows(int64_t queries, int64_t keys) {
    const uint64_t seed = random_();
    const Tensor table = values({3, 2});
    return {.text = text(), .form = SegmentPair{}, .at_run_time = [=](const TermPlace& place) -> std::vector<TermForm> {
              Synthetic of(seed + static_cast<uint64_t>(place.lane.member));
              const int64_t rows = place.lane.rows();
              return {Labels{of.labels(rows, queries, 3), of.labels(rows, keys, 2), table}};
            }};
  }

  void put(const SiteScope& here, int verb) {
    const SiteTokens& tokens = here.tokens();
    const int64_t queries = token_count(tokens.query), keys = token_count(tokens.key);
    const std::string query = tokens.query.back().name, key = tokens.key.front().name;
    switch (verb) {
      case 0:
        here.declare(Temper{.tau = uniform(0.5, 2), .query = {}, .key = {}});
        break;
      case 1:
        here.declare(Temper{.tau = uniform(0.5, 2), .query = query, .key = key});
        break;
      case 2:
        here.declare(AddScore{mask(queries, keys)});
        break;
      case 3:
        here.declare(AddScore{{.text = text(), .form = Column{values({1, keys})}}});
        break;
      case 4:
        here.declare(AddScore{{.text = text(), .form = Row{values({1, queries})}}});
        break;
      case 5:
        here.declare(AddScore{{.text = text(), .form = SegmentPair{query, key, static_cast<float>(uniform(-2, 2))}}});
        break;
      case 6:
        here.declare(AddScore{{.text = text(),
                               .form = Window{"image", below(3) - 1, 1 + below(2), below(4) - 1},
                               .at_run_time = {},
                               .empty_rows_are_zero = true}});
        break;
      case 7:
        here.declare(AddScore{{.text = text(), .form = Dense{values({1, 2, queries, keys})}}});
        break;
      case 8:
        here.declare(AddScore{made_for_rows(queries, keys)});
        break;
      case 9:
        here.declare(Gain{text(), values({keys})});
        break;
      case 10:
        here.declare(Extend{.text = text(),
                            .lane = source(),
                            .log_gain = uniform(-1, 1),
                            .key_scale = uniform(0.5, 1.5),
                            .terms = {mask(queries, keys)}});
        break;
      case 11: {
        const std::string name = text();
        here.declare(AddBranch{.name = name, .weight = uniform(-1, 1)});
        here.on(name).declare(Temper{.tau = 2, .query = {}, .key = {}});
        here.on(name).declare(Take{.role = Role::v, .lane = source(), .region = region(queries)});
        break;
      }
      case 12: {
        here.declare(Weigh{.text = "", .constant = uniform(0, 1)});
        here.declare(AddBranch{.name = text(), .weight = 0.5, .identity = keys == queries});
        break;
      }
      case 13: {
        const Tensor weight = values({1, queries});
        here.declare(Weigh{.text = text(), .constant = 1, .at_run_time = [=](const TermPlace&) { return weight; }});
        break;
      }
      case 14:
        here.declare(Take{.role = static_cast<Role>(below(3)), .lane = source()});
        break;
      case 15:
        here.declare(Take{.role = static_cast<Role>(below(3)), .lane = source(), .region = region(queries)});
        break;
      case 16: {
        // Moved to the mean of the source's tokens.
        const Role role = static_cast<Role>(below(2));
        here.declare(Shaping{role, {.text = text(), .apply = [=](const Tensor& x, const LaneTensors& lanes) {
                                      const Tensor theirs = lanes.of(role, source());
                                      return add(subtract(x, mean(x, {1}, Axes::keep)), mean(theirs, {1}, Axes::keep));
                                    }}});
        break;
      }
      case 17:
        here.declare(Take{.role = static_cast<Role>(below(3)), .lane = source(), .segment = key});
        break;
      case 18:
        here.declare(Temper{.tau = uniform(0.5, 2), .query = query, .key = key, .keep_mass = true});
        here.declare(Extend{.text = text(), .lane = source(), .segment = key});
        break;
      case 19:
        here.declare(
            Blend{.lane = source(), .weight = uniform(0, 1), .region = below(2) == 0 ? region(queries) : Tensor()});
        break;
      default:
        here.declare(
            Capture{.name = text(),
                    .keys = {keys - 1, below(keys), 0},
                    .within = below(3) == 0 ? std::vector<int64_t>{0, 1, keys / 2, keys - 1} : std::vector<int64_t>{},
                    .mean_over_heads = below(2) == 0,
                    .raw = below(2) == 0});
    }
  }

  std::mt19937_64 random_;
};

}  // namespace heddle::testing
