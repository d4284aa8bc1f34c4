// The tape records only what descends from a watched tensor; checkpoint changes memory, never values.
#include "kernels/core/tape.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "kernels/ops/checkpoint.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"

namespace heddle {
namespace {

Tensor ramp(int64_t n) {
  std::vector<float> v;
  for (int64_t i = 0; i < n; ++i) v.push_back(0.1f * static_cast<float>(i + 1));
  return Tensor::from(std::span<const float>(v), {n});
}

TEST(Tape, SharedSubexpressionsAdd) {
  Tape tape;
  const Tensor x = tape.watch(ramp(4));
  const Tensor y = multiply(x, x);
  const Tensor g = tape.gradient(sum(add(y, multiply(y, x))), x);
  for (int i = 0; i < 4; ++i) {
    const float v = 0.1f * static_cast<float>(i + 1);
    EXPECT_NEAR(g.to_vector()[i], 2 * v + 3 * v * v, 1e-6);
  }
}

TEST(Tape, UntrackedStaysUntracked) {
  Tape tape;
  const Tensor x = tape.watch(ramp(3));
  EXPECT_FALSE(multiply(ramp(3), ramp(3)).is_tracked());
  EXPECT_TRUE(multiply(ramp(3), x).is_tracked());
  const Tensor g = tape.gradient(sum(ramp(3)), x);
  EXPECT_EQ(g.to_vector(), std::vector<float>(3, 0.0f));
}

TEST(Tape, GradientTwiceNeedsKeep) {
  Tape tape;
  const Tensor x = tape.watch(ramp(3));
  const Tensor y = sum(square(x));
  const auto first = tape.gradient(y, x, {}, Tape::Graph::keep).to_vector();
  EXPECT_EQ(first, tape.gradient(y, x).to_vector());
}

TEST(Checkpoint, SameValueAndGradient) {
  const Block block = [](const std::vector<Tensor>& in) {
    return std::vector{multiply(square(in[0]), in[1]), add(in[0], in[1])};
  };
  const auto run = [&](bool saved) {
    Tape tape;
    const Tensor a = tape.watch(ramp(5)), b = tape.watch(scale(ramp(5), 2));
    const auto out = saved ? block({a, b}) : checkpoint(block, {a, b});
    const Tensor loss = sum(multiply(out[0], out[1]));
    const std::vector<Tensor> ys{loss}, seeds{Tensor::full({}, 1)}, xs{a, b};
    const auto g = tape.gradients(ys, seeds, xs);
    return std::vector{loss.to_vector(), g[0].to_vector(), g[1].to_vector()};
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(Memory, BudgetIsACleanErrorAndBuffersAreReused) {
  const int64_t before = memory_stats().in_use;
  set_memory_budget(before + (1 << 20));
  EXPECT_THROW(
      {
        try {
          Tensor::empty({1 << 20});
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::memory);
          throw;
        }
      },
      Error);
  set_memory_budget(0);
  { const Tensor once = Tensor::empty({1 << 18}); }
  const int64_t taken = memory_stats().allocations;
  { const Tensor again = Tensor::empty({1 << 18}); }
  EXPECT_EQ(memory_stats().allocations, taken);
  EXPECT_EQ(memory_stats().in_use, before);
}

// Blocks of two sizes in turn: both wait in the pool, unless the budget is too small for both.
TEST(Memory, TheRoomToSpareEndsAtTheBudget) {
  const auto in_turn = [] {
    for (const int64_t megabytes : {8, 4}) Tensor::empty({megabytes << 18});
  };
  in_turn();
  const MemoryStats first = memory_stats();
  in_turn();
  EXPECT_EQ(memory_stats().allocations, first.allocations);
  trim_memory();
  const int64_t in_use = memory_stats().in_use;
  set_memory_budget(in_use + (9 << 20));
  in_turn();
  EXPECT_LE(memory_stats().in_use + memory_stats().pooled, in_use + (9 << 20));
  set_memory_budget(0);
}

}  // namespace
}  // namespace heddle
