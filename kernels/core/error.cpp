// Builds the one-line error text.
#include "kernels/core/error.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace heddle {
namespace {

std::string one_line(std::string_view part) {
  constexpr size_t longest = 400;
  std::string clean(part.substr(0, longest));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (part.size() > longest) clean += "...";
  return clean;
}

}  // namespace

void fail(ErrorCode code, std::string_view where, std::string_view wanted, std::string_view got,
          std::string_view hint) {
  std::string text = "[" + one_line(where) + "] wanted " + one_line(wanted) + "; got " + one_line(got);
  if (!hint.empty()) text += "; try " + one_line(hint);
  throw Error(code, text);
}

int edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 64);
  b = b.substr(0, 64);
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

}  // namespace heddle
