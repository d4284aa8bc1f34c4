// Progress on stderr: a bar with what is done, seconds for each and time left on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>

namespace heddle::cli {

class Progress {
 public:
  explicit Progress(const char* unit) : unit_(unit) {}  // what is counted: "step", "pair"

  void step(int done, int total);
  void finish();  // ends the line of a bar

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_{}, printed_{};
  const char* unit_;
  int first_ = -1;  // steps done when the clock started: the first step also plans kernels and is not representative
  bool open_ = false;
};

// Ctrl-C: the first asks the run to stop after its step, the second ends the process at once.
void catch_interrupts();
bool interrupted();

}  // namespace heddle::cli
