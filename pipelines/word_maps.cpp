// Capturing, summing, and drawing.
#include "pipelines/word_maps.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "attention_control/plugins/image_text.h"
#include "io/image_tensor.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/resize.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;

bool is_word_byte(unsigned char c) {
  return c >= 128 || std::isalnum(c) != 0 || c == '-' || c == '\'';
}

// Black, purple, orange, pale yellow: the colours of increasing attention.
std::array<float, 3> heat(float value) {
  constexpr std::array<std::array<float, 3>, 5> stops{{{0.00f, 0.00f, 0.02f},
                                                       {0.34f, 0.06f, 0.43f},
                                                       {0.73f, 0.21f, 0.33f},
                                                       {0.98f, 0.55f, 0.04f},
                                                       {0.99f, 1.00f, 0.64f}}};
  const float at = std::clamp(value, 0.0f, 1.0f) * 4;
  const auto i = std::min(static_cast<size_t>(at), size_t{3});
  std::array<float, 3> out{};
  for (size_t c = 0; c < 3; ++c) out[c] = stops[i][c] + (stops[i + 1][c] - stops[i][c]) * (at - static_cast<float>(i));
  return out;
}

// picture [1,H,W,3] under the map stretched to its own range.
Tensor overlay(const Tensor& picture, const Tensor& map) {
  const int64_t h = picture.dim(1), w = picture.dim(2);
  const std::vector<float> grey = resize_bilinear(reshape(map, {1, map.dim(0), map.dim(1), 1}), h, w).to_vector();
  const auto [low, high] = std::ranges::minmax(grey);
  std::vector<float> pixels = picture.to_vector();
  for (size_t i = 0; i < grey.size(); ++i) {
    const std::array<float, 3> colour = heat(high > low ? (grey[i] - low) / (high - low) : 0);
    for (size_t c = 0; c < 3; ++c) pixels[3 * i + c] = 0.35f * pixels[3 * i + c] + 0.65f * colour[c];
  }
  return Tensor::from(std::span<const float>(pixels), {1, h, w, 3});
}

std::string file_word(const std::string& word) {
  std::string out;
  for (const char c : word) out += is_word_byte(static_cast<unsigned char>(c)) ? c : '_';
  return out;
}

}  // namespace

// Pieces that touch are one word. Another encoder's pieces belong to the words whose bytes they cover.
std::vector<WordMaps::Word> WordMaps::words_of(const PromptTokens& prompt, std::vector<int64_t>& columns) {
  std::vector<Word> words;
  for (const PromptToken& token : prompt.tokens) {
    const std::string piece = prompt.text.substr(token.begin, token.end - token.begin);
    if (!std::ranges::any_of(piece, [](unsigned char c) { return is_word_byte(c); })) continue;
    auto word = std::ranges::find_if(words, [&](const Word& w) { return token.begin < w.end && token.end > w.begin; });
    const bool touches = !words.empty() && token.begin == words.back().end;
    if (word == words.end() && touches && is_word_byte(static_cast<unsigned char>(piece.front()))) {
      word = std::prev(words.end());
      word->text += piece;
      word->end = token.end;
    } else if (word == words.end()) {
      word = words.insert(words.end(), {piece, token.begin, token.end, {}});
    }
    word->columns.push_back(static_cast<int64_t>(columns.size()));
    columns.push_back(token.position);
  }
  for (size_t i = 0, seen = 1; i < words.size(); ++i, seen = 1) {
    for (size_t j = 0; j < i; ++j)
      seen += words[j].text == words[i].text || words[j].text.starts_with(words[i].text + "#") ? 1 : 0;
    if (seen > 1) words[i].text += "#" + std::to_string(seen);
  }
  return words;
}

void WordMaps::declare(PlanBuilder& plan) {
  const RunShape& run = plan.run();
  height_ = run.height, width_ = run.width, pictures_ = run.pictures;
  sums_.resize(run.members.size() * static_cast<size_t>(pictures_));
  weights_.resize(sums_.size());
  std::vector<std::vector<int64_t>> keys;
  for (const Member& member : run.members) words_.push_back(words_of(member.words, keys.emplace_back()));
  for (const SiteScope& site : text_sites(plan)) {
    for (size_t m = 0; m < keys.size(); ++m) {
      if (keys[m].empty()) continue;
      capture_words(site.lane(Branch::cond).member(static_cast<int>(m)).passes({Pass::denoise}),
                    {.name = "save_maps", .keys = keys[m], .optional = true}, run.members[m].words);
    }
  }
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment&, const std::vector<Lane>&) { collect(captures); });
}

void WordMaps::collect(const Captures& captures) {
  for (const AttentionMap& map : captures.at("save_maps")) {
    const TokenSegment& grid = image_grid(map.tokens);
    const Tensor values = image_rows(map);
    for (int64_t row = 0; row < map.lane.rows(); ++row) {
      const auto at = static_cast<size_t>(map.lane.member * pictures_ + map.lane.picture + row);
      const Tensor one = reshape(slice(values, 0, row, row + 1), {1, grid.height, grid.width, values.dim(2)});
      const Tensor part = scale(resize_bilinear(one, height_, width_), static_cast<double>(map.site.heads));
      sums_[at] = sums_[at].defined() ? add(sums_[at], part) : part;
      weights_[at] += static_cast<double>(map.site.heads);
    }
  }
}

std::vector<WordMap> WordMaps::maps() const {
  std::vector<WordMap> out;
  for (size_t at = 0; at < sums_.size(); ++at) {
    if (!sums_[at].defined()) continue;
    const Tensor mean = scale(sums_[at], 1 / weights_[at]);
    for (const Word& word : words_[at / static_cast<size_t>(pictures_)])
      out.push_back(
          {word.text, static_cast<int64_t>(at), reshape(sum(gather(mean, 3, word.columns), {3}), {height_, width_})});
  }
  return out;
}

std::vector<std::string> write_word_maps(const std::string& folder, const std::vector<WordMap>& maps,
                                         const Tensor& image) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::usage, "save_maps " + folder, "a folder that can be made", error.message());
  std::vector<std::string> paths;
  TensorMap tensors;
  const Tensor pictures = contiguous(channels_last(image));
  for (const WordMap& map : maps) {
    tensors[std::to_string(map.picture) + "." + map.word] = map.map;
    paths.push_back(folder + "/" + std::to_string(map.picture) + "-" + file_word(map.word) + ".png");
    write_png(paths.back(),
              tensor_to_images(overlay(slice(pictures, 0, map.picture, map.picture + 1), map.map)).front());
  }
  paths.push_back(folder + "/maps.safetensors");
  write_safetensors(paths.back(), tensors);
  return paths;
}

}  // namespace heddle
