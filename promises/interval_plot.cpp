// Draws intervals.
#include "promises/interval_plot.h"

#include <algorithm>
#include <cstdio>

namespace heddle {
namespace {

constexpr double left = 250, width = 760, right = 40, line = 34, top = 44;

template <typename... T>
std::string format(const char* pattern, T... values) {
  char text[512];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

double x_of(double share) {
  return left + (width - left - right) * std::clamp(share, 0.0, 1.0);
}

std::string interval(const Interval& i, double y, const char* colour) {
  return format("<path d='M%.1f %.1fH%.1f' stroke='%s' stroke-width='3'/>\n", x_of(i.low), y, x_of(i.high), colour) +
         format("<circle cx='%.1f' cy='%.1f' r='4.5' fill='%s'/>\n", x_of(i.value), y, colour);
}

}  // namespace

std::string interval_plot(const PromiseResult& result) {
  constexpr const char *plain = "#888888", *method = "#1f77b4";
  std::string body;
  double y = top;
  for (const GroupResult& group : result.groups) {
    for (const MetricResult& values : group.metrics) {
      const Summary s = summarise(values, result.has_method);
      if (s.metric->kind != MetricKind::rate || s.pairs == 0) continue;
      y += line;
      body += format("<text x='%.1f' y='%.1f' text-anchor='end'>%s: %s</text>\n", left - 12, y + 4, group.name.c_str(),
                     s.metric->name.c_str());
      body += interval(s.plain, result.has_method ? y - 6 : y, plain);
      if (result.has_method) body += interval(s.method, y + 6, method);
    }
  }
  const double height = y + line;
  std::string out = format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif' font-size='12'>\n"
      "<rect width='100%%' height='100%%' fill='white'/>\n",
      width, height);
  for (int tick = 0; tick <= 10; tick += 2) {
    out += format("<path d='M%.1f %.1fV%.1f' stroke='#ddd'/>\n", x_of(tick / 10.0), top, height - 10);
    out += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%d %%</text>\n", x_of(tick / 10.0), top - 6, tick * 10);
  }
  out += format("<text x='%.1f' y='16' fill='%s'>plain</text>\n", left, plain);
  if (result.has_method)
    out += format("<text x='%.1f' y='16' fill='%s'>%s</text>\n", left + 50, method, result.name.c_str());
  return out + body + "</svg>\n";
}

}  // namespace heddle
