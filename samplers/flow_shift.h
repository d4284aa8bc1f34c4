// How a flow model's share of noise is spread over a run.
#pragma once

#include <cstdint>

namespace heddle {

struct FlowShift {
  double shift = 1;      // of sigma: shift sigma / (1 + (shift - 1) sigma) (Esser et al. 2024, eq. 23)
  bool dynamic = false;  // use_dynamic_shifting: instead of it mu, which follows from the picture's size
  double base_shift = 0.5, max_shift = 1.15;     // mu at base_tokens and at max_tokens
  int64_t base_tokens = 256, max_tokens = 4096;  // base_image_seq_len, max_image_seq_len
  bool linear = false;  // time_shift_type: mu / (mu + 1 / sigma - 1) instead of e^mu / (e^mu + 1 / sigma - 1)
  double terminal = 0;  // shift_terminal: the last step's sigma, by stretching the others; 0: as it falls

  // On the line through the two points.
  double mu(int64_t image_tokens) const;
  double shifted(double sigma, double mu) const;

  bool operator==(const FlowShift&) const = default;
};

}  // namespace heddle
