// Summaries and the page.
#include "promises/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "io/file.h"
#include "io/png.h"
#include "promises/interval_plot.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

template <typename... T>
std::string format(const char* pattern, T... values) {
  char text[512];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

Interval interval_of(const Metric& metric, const std::vector<double>& values) {
  std::vector<double> there;
  std::ranges::copy_if(values, std::back_inserter(there), [](double v) { return !std::isnan(v); });
  if (metric.kind == MetricKind::amount) return bootstrap_mean(there);
  return wilson(std::ranges::count(there, 1.0), static_cast<int64_t>(there.size()));
}

// 62 % (56 to 68) or 0.0123 (0.011 to 0.014).
std::string text_of(const Metric& metric, const Interval& i, bool sign = false) {
  if (metric.kind == MetricKind::rate)
    return format(sign ? "%+.1f (%+.1f to %+.1f)" : "%.1f %% (%.1f to %.1f)", 100 * i.value, 100 * i.low, 100 * i.high);
  return format(sign ? "%+.3g (%+.3g to %+.3g)" : "%.3g (%.3g to %.3g)", i.value, i.low, i.high);
}

std::string p_text(double p) {
  return p < 1e-4 ? "< 0.0001" : format("%.4f", p);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

std::string bars_text(const PromiseResult& r, const GroupResult& group, const Summary& s) {
  std::string text;
  for (const Bar& bar : r.bars) {
    if (bar.metric != s.metric->name || (!bar.group.empty() && bar.group != group.name)) continue;
    const BarVerdict verdict = judge_bar(bar, s, r.has_method);
    text += (text.empty() ? "" : "; ") + verdict.text + (verdict.met ? ", met" : ", **missed**");
  }
  return text;
}

std::string table(const PromiseResult& r) {
  std::string out = r.has_method
                        ? "| group | metric | pairs | plain | method | difference | p | better / worse | bar |\n"
                          "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
                        : "| group | metric | pictures | rate | bar |\n| --- | --- | --- | --- | --- |\n";
  for (const GroupResult& group : r.groups) {
    for (const MetricResult& values : group.metrics) {
      const Summary s = summarise(values, r.has_method);
      if (s.pairs == 0) continue;
      out += "| " + group.name + " | " + s.metric->name + " | " + std::to_string(s.pairs) + " | " +
             text_of(*s.metric, s.plain);
      if (r.has_method) {
        out += " | " + text_of(*s.metric, s.method) + " | " + text_of(*s.metric, s.difference, true) + " | " +
               p_text(s.p) + " | " + std::to_string(s.wins) + " / " + std::to_string(s.losses);
      }
      out += " | " + bars_text(r, group, s) + " |\n";
    }
  }
  return out;
}

std::string times(const PromiseResult& r) {
  std::vector<double> plain, method;
  double judged = 0;
  size_t pictures = 0;
  for (const GroupResult& g : r.groups) {
    plain.insert(plain.end(), g.plain_seconds.begin(), g.plain_seconds.end());
    method.insert(method.end(), g.method_seconds.begin(), g.method_seconds.end());
    judged += g.judge_seconds;
    pictures += g.plain_seconds.size() + g.method_seconds.size();
  }
  std::string out = format("Steps of a run: %.2f s", median(plain));
  if (r.has_method) {
    const double ratio = median(method) / std::max(median(plain), 1e-9);
    out += format(" plain, %.2f s with the method, ratio %.2f (medians)", median(method), ratio);
    if (r.time_ratio)
      out += format("; bar at most %.2f, %s", *r.time_ratio, ratio <= *r.time_ratio ? "met" : "**missed**");
  }
  return out +
         format(". Judging: %.1f ms a run.\n", 1000 * judged / static_cast<double>(std::max<size_t>(pictures, 1)));
}

// What makes these figures again.
std::string command(const PromiseResult& r) {
  const size_t pairs = r.groups.front().prompts.size();
  const bool alike = std::ranges::all_of(r.groups, [&](const GroupResult& g) { return g.prompts.size() == pairs; });
  return "heddle promise " + r.name + (alike ? " --pairs " + std::to_string(pairs) : "");
}

std::string section(const fs::path& folder, const PromiseResult& r) {
  std::string out = "## " + r.name + "\n\n" + r.says + "\n\n    " + command(r) + "\n\n";
  out += format("%s, %d steps, guidance %g", r.model.c_str(), r.steps, r.guidance);
  out += (r.settings.empty() ? "" : "; `" + r.settings + "`");
  out += "; everything else as in " + r.name + ".yaml.\n\n" + table(r) + "\n" + times(r) + "\n";
  out += "![rates with intervals](promises/" + r.name + ".svg)\n\n";
  const auto sheet = [&](const char* mark, const char* title) {
    const std::string file = r.name + "-" + mark + ".png";
    if (fs::exists(folder / "promises" / file))
      out += std::string(title) + "\n\n![" + title + "](promises/" + file + ")\n\n";
  };
  sheet("wins", r.has_method ? "Better than plain, the first of them:" : "Right, the first of them:");
  sheet("failures", "Failures, the first of them:");
  return out + "What the judge saw in each: [" + r.name + ".txt](promises/" + r.name + ".txt).\n\n";
}

std::string page(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder / "promises")) {
    if (entry.path().extension() == ".json") files.insert(entry.path());
  }
  std::string out =
      "# Promises\n\nEach method against plain sampling, same prompts and seeds, judged by the detector that ships. "
      "Made by `heddle promise`; do "
      "not edit.\nRates have Wilson intervals (95 %), amounts and differences are resampled by pairs (2000 times); p "
      "is McNemar's exact test for "
      "rates and a\nsign-flip test for amounts. Sheets show the first pairs of their kind, nobody chose them: source "
      "(where there is one), plain, "
      "method; frames\ngreen for right, red for wrong; white boxes around objects that the judge names, magenta around "
      "malformed ones.\n\n";
  out += "| metric | what it asks |\n| --- | --- |\n";
  std::vector<PromiseResult> results;
  std::set<std::string> used;
  for (const fs::path& file : files) {
    results.push_back(promise_from_json(file.string()));
    for (const GroupResult& g : results.back().groups) {
      for (const MetricResult& m : g.metrics) used.insert(m.metric);
    }
  }
  for (const Metric& m : metrics()) {
    if (used.contains(m.name)) out += "| " + m.name + " | " + m.sentence + " |\n";
  }
  out += "\n";
  for (const PromiseResult& r : results) out += section(folder, r);
  return out;
}

}  // namespace

Summary summarise(const MetricResult& result, bool has_method) {
  Summary s{.metric = &metric_named(result.metric, "report")};
  s.plain = interval_of(*s.metric, result.plain);
  if (!has_method) {
    s.pairs = std::ranges::count_if(result.plain, [](double v) { return !std::isnan(v); });
    return s;
  }
  s.method = interval_of(*s.metric, result.method);
  std::vector<double> before, after, difference;
  for (size_t i = 0; i < result.plain.size(); ++i) {
    const double a = result.plain[i], b = result.method[i];
    if (std::isnan(a) || std::isnan(b)) continue;
    before.push_back(a), after.push_back(b), difference.push_back(b - a);
    const double gain = s.metric->more_is_better ? b - a : a - b;
    s.wins += gain > 0, s.losses += gain < 0;
  }
  s.pairs = static_cast<int64_t>(difference.size());
  s.difference = bootstrap_mean(difference);
  s.ratio = bootstrap_ratio(after, before);
  s.p = s.metric->kind == MetricKind::rate ? mcnemar(s.wins, s.losses) : sign_flip(difference);
  return s;
}

BarVerdict judge_bar(const Bar& bar, const Summary& s, bool has_method) {
  const Interval& own = has_method ? s.method : s.plain;
  if (bar.at_least) return {format("at least %g", *bar.at_least), own.value >= *bar.at_least};
  if (bar.at_most) return {format("at most %g", *bar.at_most), own.value <= *bar.at_most};
  if (bar.gain) return {format("gain at least %g", *bar.gain), s.difference.value >= *bar.gain};
  if (bar.loss) return {format("loss at most %g", *bar.loss), -s.difference.value <= *bar.loss};
  return {format("ratio at most %.3g: %.3g", *bar.ratio, s.ratio.value), s.ratio.value <= *bar.ratio};
}

std::vector<std::string> write_report(const std::string& folder, const PromiseResult& result,
                                      const ContactSheet& sheet) {
  const fs::path root(folder), shelf = root / "promises";
  fs::create_directories(shelf);
  std::vector<std::string> paths;
  const auto keep = [&](const fs::path& path, const std::string& contents) {
    write_file(path.string(), contents);
    paths.push_back(path.string());
  };
  const auto keep_sheet = [&](const char* mark, const Image& image) {
    const fs::path path = shelf / (result.name + "-" + mark + ".png");
    std::error_code ignored;
    fs::remove(path, ignored);  // of an earlier run that had such pairs
    if (image.width == 0) return;
    write_png(path.string(), image);
    paths.push_back(path.string());
  };
  keep_sheet("wins", sheet.wins());
  keep_sheet("failures", sheet.failures());
  std::string captions;
  for (const std::string& line : sheet.win_captions()) captions += "win      " + line + "\n";
  for (const std::string& line : sheet.failure_captions()) captions += "failure  " + line + "\n";
  keep(shelf / (result.name + ".txt"), captions);
  keep(shelf / (result.name + ".svg"), interval_plot(result));
  keep(shelf / (result.name + ".json"), promise_to_json(result));
  keep(root / "promises.md", page(root));
  return paths;
}

}  // namespace heddle
