// The prompt grammar of AUTOMATIC1111's web UI and the cutting of long prompts into windows.
#include "encoders/prompt.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

constexpr double emphasis = 1.1;

bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_ascii_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (c & 0x80);
}

// ":1.3)" at `at`: the number and where it ends.
struct Weight {
  double value;
  size_t end;
};

std::optional<Weight> weight_at(std::string_view prompt, size_t at) {
  if (prompt[at] != ':') return std::nullopt;
  ++at;
  while (at < prompt.size() && is_ascii_space(prompt[at])) ++at;
  if (at + 1 < prompt.size() && prompt[at] == '+' && prompt[at + 1] != '-') ++at;
  Weight weight{};
  const auto [stop, error] =
      std::from_chars(prompt.data() + at, prompt.data() + prompt.size(), weight.value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(weight.value)) return std::nullopt;
  at = static_cast<size_t>(stop - prompt.data());
  while (at < prompt.size() && is_ascii_space(prompt[at])) ++at;
  if (at >= prompt.size() || prompt[at] != ')') return std::nullopt;
  weight.end = at + 1;
  return weight;
}

// Builds the runs character by character; brackets multiply all runs since they were opened.
class Runs {
 public:
  void put(char c, size_t source) {
    if (fresh_) runs_.emplace_back();
    fresh_ = false;
    runs_.back().text.push_back(c);
    runs_.back().source.push_back(source);
  }
  void put_break() {
    trim_end();
    runs_.push_back({.breaks = true});
    fresh_ = true;
  }
  size_t mark() {
    fresh_ = true;
    return runs_.size();
  }
  void multiply(size_t from, double factor) {
    for (size_t i = from; i < runs_.size(); ++i) runs_[i].weight *= factor;
    fresh_ = true;
  }
  char last() const { return fresh_ || runs_.empty() ? ' ' : runs_.back().text.back(); }

  // Neighbouring runs of one weight become one.
  std::vector<WeightedText> joined() const {
    std::vector<WeightedText> out;
    for (const WeightedText& run : runs_) {
      if (!out.empty() && out.back().weight == run.weight && !out.back().breaks && !run.breaks) {
        out.back().text += run.text;
        out.back().source.insert(out.back().source.end(), run.source.begin(), run.source.end());
      } else if (run.breaks || !run.text.empty()) {
        out.push_back(run);
      }
    }
    if (out.empty()) out.emplace_back();
    return out;
  }

 private:
  void trim_end() {
    if (fresh_ || runs_.empty()) return;
    while (!runs_.back().text.empty() && is_ascii_space(runs_.back().text.back())) {
      runs_.back().text.pop_back();
      runs_.back().source.pop_back();
    }
  }

  std::vector<WeightedText> runs_;
  bool fresh_ = true;  // the next character begins a run
};

// Length of a BREAK, with the white space after it, at `at`; 0 where there is none.
size_t break_length(std::string_view prompt, size_t at, char before) {
  constexpr std::string_view word = "BREAK";
  if (prompt.substr(at, word.size()) != word || is_ascii_word(before)) return 0;
  size_t end = at + word.size();
  if (end < prompt.size() && is_ascii_word(prompt[end])) return 0;
  while (end < prompt.size() && is_ascii_space(prompt[end])) ++end;
  return end - at;
}

}  // namespace

std::vector<WeightedText> parse_weights(std::string_view prompt) {
  Runs runs;
  std::vector<size_t> round, square;  // the run at which each open bracket began
  for (size_t at = 0; at < prompt.size();) {
    const char c = prompt[at];
    const auto weight = round.empty() ? std::nullopt : weight_at(prompt, at);
    if (c == '\\' && at + 1 < prompt.size() &&
        std::string_view("()[]\\").find(prompt[at + 1]) != std::string_view::npos) {
      runs.put(prompt[at + 1], at + 1);
      at += 2;
    } else if (const size_t length = break_length(prompt, at, runs.last())) {
      runs.put_break();
      at += length;
    } else if (weight) {
      runs.multiply(round.back(), weight->value);
      round.pop_back();
      at = weight->end;
    } else {
      if (c == '(' || c == '[') {
        (c == '(' ? round : square).push_back(runs.mark());
      } else if (c == ')' && !round.empty()) {
        runs.multiply(round.back(), emphasis);
        round.pop_back();
      } else if (c == ']' && !square.empty()) {
        runs.multiply(square.back(), 1 / emphasis);
        square.pop_back();
      } else if (c != '\\') {  // a lone backslash vanishes
        runs.put(c, at);
      }
      ++at;
    }
  }
  for (const size_t from : round) runs.multiply(from, emphasis);
  for (const size_t from : square) runs.multiply(from, 1 / emphasis);
  return runs.joined();
}

namespace {

struct WeightedPiece {
  Piece piece;
  float weight;
  bool breaks;
};

std::vector<WeightedPiece> weighted_pieces(const ClipTokenizer& tokenizer, std::string_view prompt, bool weights) {
  std::vector<WeightedPiece> out;
  if (!weights) {
    for (const Piece& piece : tokenizer.pieces(prompt)) out.push_back({piece, 1.0f, false});
    return out;
  }
  for (const WeightedText& run : parse_weights(prompt)) {
    if (run.breaks) out.push_back({{}, 1.0f, true});
    if (std::abs(run.weight) > 1e6) fail(ErrorCode::usage, "prompt", "weights within 1e6", std::to_string(run.weight));
    for (Piece piece : tokenizer.pieces(run.text)) {
      piece.begin = run.source[piece.begin];
      piece.end = run.source[piece.end - 1] + 1;
      out.push_back({piece, static_cast<float>(run.weight), false});
    }
  }
  return out;
}

PromptChunk make_chunk(const ClipTokenizer& tokenizer, std::span<const WeightedPiece> content) {
  PromptChunk chunk;
  std::vector<int64_t> ids;
  for (const WeightedPiece& p : content) ids.push_back(p.piece.id);
  chunk.ids = tokenizer.pad(std::move(ids));
  chunk.weights.assign(chunk.ids.size(), 1.0f);
  for (const int64_t id : chunk.ids) chunk.pieces.push_back({id, 0, 0});
  // Where the content stands: after the begin token, which padding on the left moves.
  const size_t first = tokenizer.pads_left() ? chunk.ids.size() - 1 - content.size() : 1;
  for (size_t i = 0; i < content.size(); ++i) {
    chunk.weights[first + i] = content[i].weight;
    chunk.pieces[first + i] = content[i].piece;
  }
  return chunk;
}

// Windows of at most `room` pieces, cut where they are full and at breaks. As in the web UI (its setting "comma padding
// backtrack", at its default), a full window ends after its last `comma` where that is among its last 20 pieces and no
// comma follows; what stood behind it begins the next window.
std::vector<std::span<const WeightedPiece>> cut_windows(std::span<const WeightedPiece> all, size_t room,
                                                        std::optional<int64_t> comma) {
  constexpr size_t reach = 20;
  std::vector<std::span<const WeightedPiece>> windows;
  std::optional<size_t> last_comma;  // in the window that began at `begin`
  size_t begin = 0;
  for (size_t i = 0; i <= all.size(); ++i) {
    const bool end = i == all.size(), breaks = !end && all[i].breaks, text = !end && !breaks;
    const bool is_comma = text && all[i].piece.id == comma;
    if (text && i - begin < room) {
      if (is_comma) last_comma = i;
      continue;
    }
    const bool back = text && !is_comma && last_comma && i - *last_comma <= reach;
    const size_t cut = back ? *last_comma + 1 : i;
    if (cut > begin || breaks || windows.empty()) windows.push_back(all.subspan(begin, cut - begin));
    begin = breaks ? i + 1 : cut;
    last_comma.reset();
  }
  return windows;
}

std::optional<int64_t> comma_of(const ClipTokenizer& tokenizer) {
  const std::vector<int64_t> ids = tokenizer.encode(",");
  return ids.size() == 1 ? std::optional(ids[0]) : std::nullopt;
}

}  // namespace

std::vector<PromptChunk> chunk_prompt(const ClipTokenizer& tokenizer, std::string_view prompt,
                                      const PromptOptions& options) {
  const auto room = static_cast<size_t>(tokenizer.model_max_length() - 2);
  const std::vector<WeightedPiece> pieces = weighted_pieces(tokenizer, prompt, options.weights);
  const std::span all(pieces);
  if (!options.long_prompts) {
    if (std::any_of(pieces.begin(), pieces.end(), [](const WeightedPiece& p) { return p.breaks; })) {
      fail(ErrorCode::usage, "prompt", "BREAK with long prompts on", "BREAK with long prompts off",
           "long_prompts: true");
    }
    const size_t count = std::min(room, all.size());
    return {make_chunk(tokenizer, tokenizer.truncates_left() ? all.last(count) : all.first(count))};
  }
  std::vector<PromptChunk> chunks;
  for (const auto window : cut_windows(all, room, options.weights ? comma_of(tokenizer) : std::nullopt)) {
    chunks.push_back(make_chunk(tokenizer, window));
  }
  return chunks;
}

PromptChunk empty_chunk(const ClipTokenizer& tokenizer) {
  return make_chunk(tokenizer, {});
}

std::vector<int64_t> positions_of(const std::vector<PromptChunk>& chunks, size_t begin, size_t end) {
  std::vector<int64_t> positions;
  int64_t position = 0;
  for (const PromptChunk& chunk : chunks) {
    for (const Piece& piece : chunk.pieces) {
      if (piece.begin < end && begin < piece.end) positions.push_back(position);
      ++position;
    }
  }
  return positions;
}

Tensor apply_weights(const Tensor& embedding, const std::vector<float>& weights) {
  if (std::all_of(weights.begin(), weights.end(), [](float w) { return w == 1.0f; })) return embedding;
  if (embedding.rank() != 3 || embedding.dim(1) != static_cast<int64_t>(weights.size())) {
    fail(ErrorCode::internal, "apply_weights", "an embedding [1,T,C] and T weights",
         embedding.shape().text() + " and " + std::to_string(weights.size()));
  }
  const Tensor x = to(embedding, DType::f32);
  const Tensor weighted = multiply(x, Tensor::from(weights, {1, embedding.dim(1), 1}));
  return to(multiply(weighted, divide(mean(x), mean(weighted))), embedding.dtype());
}

}  // namespace heddle
