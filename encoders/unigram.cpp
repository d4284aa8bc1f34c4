// The best path through a word by Viterbi's recursion over its bytes.
#include "encoders/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "encoders/unicode.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr double unknown_penalty = 10;  // below the least probable piece

size_t bytes_of_character(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

std::string byte_piece(char c) {
  constexpr char digits[] = "0123456789ABCDEF";
  const auto byte = static_cast<uint8_t>(c);
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

void check(const UnigramFile& file) {
  if (file.pieces.empty() || file.pieces.size() > size_t{1} << 24) {
    fail(ErrorCode::input, file.where, "1 to 2^24 pieces", std::to_string(file.pieces.size()));
  }
  if (file.unknown < 0 || file.unknown >= static_cast<int64_t>(file.pieces.size())) {
    fail(ErrorCode::input, file.where, "the unknown piece among the " + std::to_string(file.pieces.size()),
         "id " + std::to_string(file.unknown));
  }
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& [text, score] = file.pieces[id];
    const std::string piece = file.where + " piece " + std::to_string(id);
    if (!std::isfinite(score)) fail(ErrorCode::input, piece, "a finite log probability", std::to_string(score));
    decode_utf8(text, piece, ErrorCode::input);
  }
}

}  // namespace

Unigram::Unigram(UnigramFile file) : file_(std::move(file)) {
  check(file_);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [text, score] : file_.pieces) least = std::min(least, score);
  unknown_score_ = least - unknown_penalty;
  order_.resize(file_.pieces.size());
  std::iota(order_.begin(), order_.end(), 0u);
  const auto& pieces = file_.pieces;
  // Of equal texts the later comes first and stays.
  std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    const int order = pieces[a].first.compare(pieces[b].first);
    return order != 0 ? order < 0 : a > b;
  });
  const auto same = [&](uint32_t a, uint32_t b) { return pieces[a].first == pieces[b].first; };
  order_.erase(std::unique(order_.begin(), order_.end(), same), order_.end());
}

Vocabulary Unigram::vocabulary() const {
  Vocabulary ids;
  for (const uint32_t id : order_) ids.emplace(file_.pieces[id].first, id);
  return ids;
}

// Calls found(id, length) for each piece that `text` begins with, the shortest first: the range of sorted pieces that
// share the bytes so far, made narrower byte by byte.
template <typename Found>
void Unigram::prefixes(std::string_view text, const Found& found) const {
  auto begin = order_.begin(), end = order_.end();
  const auto& pieces = file_.pieces;
  for (size_t length = 0; length < text.size() && begin != end; ++length) {
    if (pieces[*begin].first.size() == length) ++begin;  // it was found before, or is empty
    const auto wanted = static_cast<uint8_t>(text[length]);
    const auto byte = [&](uint32_t id) { return static_cast<uint8_t>(pieces[id].first[length]); };
    begin = std::partition_point(begin, end, [&](uint32_t id) { return byte(id) < wanted; });
    end = std::partition_point(begin, end, [&](uint32_t id) { return byte(id) == wanted; });
    if (begin != end && pieces[*begin].first.size() == length + 1) found(*begin, length + 1);
  }
}

int64_t Unigram::find(std::string_view text) const {
  const auto place = std::lower_bound(order_.begin(), order_.end(), text, [&](uint32_t id, std::string_view wanted) {
    return file_.pieces[id].first < wanted;
  });
  return place != order_.end() && file_.pieces[*place].first == text ? int64_t{*place} : -1;
}

std::vector<Unigram::Part> Unigram::encode(std::string_view word) const {
  struct Node {
    double score = 0;
    size_t begin = std::string_view::npos;  // of the last piece of the best path that ends here
    int64_t id = 0;
  };
  std::vector<Node> best(word.size() + 1);
  for (size_t at = 0; at < word.size();) {
    const double here = best[at].score;
    const size_t character = bytes_of_character(word[at]);
    const auto consider = [&](int64_t id, double score, size_t length) {
      Node& node = best[at + length];
      if (node.begin == std::string_view::npos || here + score > node.score) node = {here + score, at, id};
    };
    bool covered = false;
    prefixes(word.substr(at), [&](uint32_t id, size_t length) {
      consider(id, file_.pieces[id].second, length);
      covered = covered || length == character;
    });
    if (!covered) consider(file_.unknown, unknown_score_, character);
    at += character;
  }
  std::vector<Part> path;  // from the end to the beginning
  for (size_t end = word.size(); end > 0; end = best[end].begin) {
    const Node& node = best[end];
    if (node.id == file_.unknown && !path.empty() && path.back().id == file_.unknown) {
      path.back().begin = node.begin;
    } else {
      path.push_back({node.id, node.begin, end});
    }
  }
  std::vector<Part> out;
  for (auto part = path.rbegin(); part != path.rend(); ++part) append(word, part->begin, part->end, out);
  return out;
}

void Unigram::append(std::string_view word, size_t begin, size_t end, std::vector<Part>& out) const {
  const std::string_view covered = word.substr(begin, end - begin);
  const int64_t id = find(covered);
  std::vector<Part> bytes;
  for (size_t i = 0; id < 0 && file_.byte_fallback && i < covered.size(); ++i)
    bytes.push_back({find(byte_piece(covered[i])), begin, end});
  const bool all = !bytes.empty() && std::ranges::all_of(bytes, [](const Part& part) { return part.id >= 0; });
  if (all) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  } else {
    out.push_back({id < 0 ? file_.unknown : id, begin, end});
  }
}

}  // namespace heddle
