// Axes, lines, legend.
#include "pipelines/loss_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

namespace heddle {
namespace {

constexpr double width = 720, height = 400, left = 60, right = 20, top = 30, bottom = 45;

template <typename... T>
std::string format(const char* pattern, T... values) {
  char text[512];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

// 1, 2 or 5 times a power of ten, about `count` of them over the range.
double tick_of(double range, int count) {
  const double raw = range / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0}) {
    if (m * power >= raw) return m * power;
  }
  return 10 * power;
}

struct Frame {
  double x_end = 1, y_low = 0, y_high = 1;
  double x(double step) const { return left + (width - left - right) * step / x_end; }
  double y(double loss) const { return height - bottom - (height - top - bottom) * (loss - y_low) / (y_high - y_low); }
};

std::string axes(const Frame& f) {
  std::string out;
  const double dx = std::max(1.0, tick_of(f.x_end, 10)), dy = tick_of(f.y_high - f.y_low, 6);
  for (double x = 0; x <= f.x_end + 1e-9; x += dx)
    out += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n", f.x(x), height - bottom + 18, x);
  for (double y = std::ceil(f.y_low / dy) * dy; y <= f.y_high + 1e-9; y += dy) {
    out +=
        format("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#ddd'/>\n", left, f.y(y), width - right, f.y(y));
    out += format("<text x='%.1f' y='%.1f' text-anchor='end'>%g</text>\n", left - 6, f.y(y) + 4,
                  std::abs(y) < 1e-12 ? 0.0 : y);
  }
  out +=
      format("<path d='M%.1f %.1fV%.1fH%.1f' fill='none' stroke='#333'/>\n", left, top, height - bottom, width - right);
  out += format("<text x='%.1f' y='%.1f' text-anchor='middle'>step</text>\n", (left + width - right) / 2, height - 8.0);
  return out + format("<text x='16' y='%.1f' text-anchor='middle' transform='rotate(-90 16 %.1f)'>loss</text>\n",
                      height / 2, height / 2);
}

// Between which shares of the latents' norm a line's updates were long.
std::string moves(const std::vector<const GuideRecord*>& records) {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const GuideRecord* r : records) {
    if (r->moved > 0) low = std::min(low, r->moved), high = std::max(high, r->moved);
  }
  return high == 0 ? "" : format(": updates of %.2g to %.2g %% of the latents' norm", 100 * low, 100 * high);
}

}  // namespace

std::string loss_plot(const std::vector<GuideRecord>& losses) {
  std::map<std::pair<std::string, int64_t>, std::vector<const GuideRecord*>> lines;
  std::map<int, int> evaluations;  // most in each step
  Frame frame;
  for (const GuideRecord& r : losses) {
    lines[{r.method, r.picture}].push_back(&r);
    evaluations[r.step] = std::max(evaluations[r.step], r.iteration + 1);
    frame.x_end = std::max(frame.x_end, r.step + 1.0);
    if (std::isfinite(r.loss))
      frame.y_low = std::min(frame.y_low, r.loss), frame.y_high = std::max(frame.y_high, r.loss);
  }
  std::string out = format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif' font-size='12'>\n"
      "<rect width='100%%' height='100%%' fill='white'/>\n",
      width, height);
  out += axes(frame);
  constexpr std::array colours{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2"};
  size_t i = 0;
  for (const auto& [key, records] : lines) {
    const char* colour = colours[i % colours.size()];
    std::string points;
    for (const GuideRecord* r : records)
      points += format("%.1f,%.1f ", frame.x(r->step + static_cast<double>(r->iteration) / evaluations[r->step]),
                       frame.y(r->loss));
    out += "<polyline fill='none' stroke='" + std::string(colour) + "' stroke-width='1.5' points='" + points + "'/>\n";
    if (i < 12)
      out += format("<text x='%.1f' y='%.1f' fill='%s' text-anchor='end'>%s, picture %lld%s</text>\n", width - right,
                    top + 14.0 * static_cast<double>(i), colour, key.first.c_str(), static_cast<long long>(key.second),
                    moves(records).c_str());
    ++i;
  }
  return out + "</svg>\n";
}

}  // namespace heddle
