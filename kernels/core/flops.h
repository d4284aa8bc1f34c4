// Floating-point operations of products, convolutions and attention, counted where they are asked for: a multiply-add is
// two, whatever algorithm computes it. Elementwise work is not counted.
#pragma once

#include <cstdint>

namespace heddle {

void count_flops(int64_t flops);
int64_t flops_counted();  // by the whole process so far

}  // namespace heddle
