// The bar and the interrupt flag.
#include "cli/progress.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace heddle::cli {
namespace {

volatile std::sig_atomic_t interrupts = 0;

void on_interrupt(int) {
  interrupts = interrupts + 1;
  if (interrupts > 1) _exit(5);
}

std::string time_left(double seconds) {
  char text[40];
  if (seconds < 120)
    std::snprintf(text, sizeof text, "%.0f s left", seconds);
  else
    std::snprintf(text, sizeof text, "%.0f min left", seconds / 60);
  return text;
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

bool interrupted() {
  return interrupts > 0;
}

void Progress::step(int done, int total) {
  const auto now = Clock::now();
  if (first_ < 0) {
    first_ = done;
    start_ = now;
  }
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const std::chrono::duration<double> since = now - printed_;
  // Lines in a log: at most one every ten seconds, and the last.
  if (!terminal && done != total && printed_ != Clock::time_point{} && since.count() < 10) return;
  printed_ = now;
  std::string text = std::to_string(done) + "/" + std::to_string(total);
  if (done > first_) {
    const double each = std::chrono::duration<double>(now - start_).count() / (done - first_);
    char pace[80];
    std::snprintf(pace, sizeof pace, "  %.2f s/%s  ", each, unit_);
    text += pace + time_left(each * (total - done));
  }
  if (!terminal) {
    std::fprintf(stderr, "%s %s\n", unit_, text.c_str());
    return;
  }
  constexpr int width = 30;
  std::string bar(static_cast<size_t>(width * done / total), '#');
  bar.resize(width, '.');
  std::fprintf(stderr, "\r[%s] %s\033[K", bar.c_str(), text.c_str());
  std::fflush(stderr);
  open_ = true;
  if (done == total) finish();
}

void Progress::finish() {
  if (open_) std::fputc('\n', stderr);
  open_ = false;
}

}  // namespace heddle::cli
