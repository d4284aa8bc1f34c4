// Draws contact sheets.
#include "promises/contact_sheet.h"

#include <algorithm>

namespace heddle {
namespace {

using Rgb = std::array<uint8_t, 3>;
constexpr Rgb right{40, 160, 60}, wrong{205, 40, 40}, neutral{120, 120, 120}, white{255, 255, 255},
    magenta{255, 0, 255};
constexpr int frame = 3, gap = 6, columns = 8;  // pixels; pictures in a row

void set_pixel(Image& image, int x, int y, const Rgb& colour) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  const size_t at = (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3;
  std::ranges::copy(colour, image.pixels.begin() + static_cast<std::ptrdiff_t>(at));
}

void draw_box(Image& image, const std::array<double, 4>& box, const Rgb& colour) {
  const int x0 = static_cast<int>(box[0]), y0 = static_cast<int>(box[1]);
  const int x1 = static_cast<int>(box[2]) - 1, y1 = static_cast<int>(box[3]) - 1;
  for (int x = x0; x <= x1; ++x) set_pixel(image, x, y0, colour), set_pixel(image, x, y1, colour);
  for (int y = y0; y <= y1; ++y) set_pixel(image, x0, y, colour), set_pixel(image, x1, y, colour);
}

Image filled(int width, int height, const Rgb& colour) {
  Image image{.width = width, .height = height};
  for (int i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return image;
}

void paste(Image& onto, const Image& picture, int x, int y) {
  for (int row = 0; row < picture.height; ++row) {
    const auto* from = &picture.pixels[static_cast<size_t>(row) * static_cast<size_t>(picture.width) * 3];
    const size_t to = (static_cast<size_t>(y + row) * static_cast<size_t>(onto.width) + static_cast<size_t>(x)) * 3;
    std::copy_n(from, static_cast<size_t>(picture.width) * 3, &onto.pixels[to]);
  }
}

Image framed(const JudgedPicture& picture, const Rgb& colour) {
  Image inside = picture.image;
  for (const SeenObject& o : picture.verdict.objects)
    draw_box(inside, o.box, o.subject == unknown_name ? magenta : white);
  Image out = filled(inside.width + 2 * frame, inside.height + 2 * frame, colour);
  paste(out, inside, frame, frame);
  return out;
}

std::string words_of(const SeenPicture& verdict) {
  std::string text;
  for (const SeenObject& o : verdict.objects) {
    text += (text.empty() ? "" : ", ") + (o.colour == "own" ? "" : o.colour + " ") + o.subject;
  }
  return (text.empty() ? "nothing" : text) + "; " + verdict.background;
}

}  // namespace

void ContactSheet::offer(const Pair& pair) {
  const std::optional<double> plain = metric_.of(pair, pair.plain);
  const std::optional<double> method = pair.method ? metric_.of(pair, *pair.method) : std::nullopt;
  const std::optional<double> value = pair.method ? method : plain;
  if (!value || (pair.method && !plain)) return;
  const bool rate = metric_.kind == MetricKind::rate;
  const double gain = pair.method ? (metric_.more_is_better ? *method - *plain : *plain - *method) : 0;
  const bool win = pair.method ? gain > 0 : rate && *value == 1;
  const bool failure = rate ? *value == 0 : gain < 0;
  if (win && wins_.size() < most_) wins_.push_back(entry_of(pair, plain, method));
  if (failure && failures_.size() < most_) failures_.push_back(entry_of(pair, plain, method));
}

ContactSheet::Entry ContactSheet::entry_of(const Pair& pair, std::optional<double> plain,
                                           std::optional<double> method) const {
  const auto colour = [&](std::optional<double> value) {
    if (metric_.kind == MetricKind::amount || !value) return neutral;
    return *value == 1 ? right : wrong;
  };
  Entry entry{.caption = pair.wanted.prompt};
  const auto add = [&](const char* name, const Outcome& outcome, const Rgb& edge) {
    const bool edits = outcome.member("target") != nullptr;
    const size_t shown = edits ? 1 : std::min<size_t>(outcome.pictures.size(), 4);
    for (size_t i = 0; i < shown; ++i)
      entry.tiles.push_back(framed(edits ? outcome.result() : outcome.pictures[i], edge));
    entry.caption += std::string(" | ") + name + ": " + words_of(outcome.result().verdict);
  };
  if (pair.wanted.edit != EditedPart::none) entry.caption += " -> " + pair.wanted.edited_prompt;
  if (const JudgedPicture* source = pair.begun_from()) entry.tiles.push_back(framed(*source, neutral));
  add(pair.method ? "plain" : "seen", pair.plain, colour(plain));
  if (pair.method) add("method", *pair.method, colour(method));
  return entry;
}

Image ContactSheet::sheet(const std::vector<Entry>& entries) {
  if (entries.empty()) return {};
  const int tile_w = entries[0].tiles[0].width, tile_h = entries[0].tiles[0].height;
  const int tiles = static_cast<int>(entries[0].tiles.size()), count = static_cast<int>(entries.size());
  const int across = std::min(count, std::max(1, columns / tiles)), rows = (count + across - 1) / across;
  Image out = filled(across * (tiles * tile_w + gap) - gap, rows * (tile_h + gap) - gap, white);
  for (int i = 0; i < count; ++i) {
    const int x = (i % across) * (tiles * tile_w + gap), y = (i / across) * (tile_h + gap);
    for (int t = 0; t < tiles; ++t)
      paste(out, entries[static_cast<size_t>(i)].tiles[static_cast<size_t>(t)], x + t * tile_w, y);
  }
  return out;
}

std::vector<std::string> ContactSheet::captions(const std::vector<Entry>& entries) {
  std::vector<std::string> out;
  for (const Entry& entry : entries) out.push_back(entry.caption);
  return out;
}

}  // namespace heddle
