// Word pairs and sequence alignment.
#include "attention_control/plugins/token_alignment.h"

#include <algorithm>
#include <array>

#include "kernels/core/error.h"

namespace heddle {
namespace {

TokenAlignment nothing(int64_t slots) {
  const auto n = static_cast<size_t>(slots);
  return {slots, std::vector<float>(n * n, 0), std::vector<float>(n, 1)};
}

void set(TokenAlignment& to, int64_t source, int64_t target, float share) {
  to.share[static_cast<size_t>(source * to.slots + target)] = share;
}

// One encoder's part of a prompt, as a prompt of its own; `first`: its first word's place.
struct Part {
  PromptTokens prompt;
  int64_t begin = 0, first = 1;
};

Part part_of(const PromptTokens& prompt, const PromptPart& at) {
  Part out{.prompt = {.text = prompt.text, .tokens = {}, .end = at.end - at.begin, .length = at.stop - at.begin},
           .begin = at.begin,
           .first = at.first - at.begin};
  for (PromptToken token : prompt.tokens) {
    if (token.position < at.begin || token.position >= at.stop) continue;
    token.position -= at.begin;
    out.prompt.tokens.push_back(token);
  }
  return out;
}

// Source and target, encoder by encoder; as one where their texts are not cut alike.
std::vector<std::pair<Part, Part>> parts_of(const PromptTokens& source, const PromptTokens& target) {
  const std::vector<PromptPart> a = source.text_parts(), b = target.text_parts();
  const auto alike = [](const PromptPart& x, const PromptPart& y) { return x.begin == y.begin && x.stop == y.stop; };
  if (!std::ranges::equal(a, b, alike)) return {{{source}, {target}}};
  std::vector<std::pair<Part, Part>> out;
  for (size_t i = 0; i < a.size(); ++i) out.emplace_back(part_of(source, a[i]), part_of(target, b[i]));
  return out;
}

// Vocabulary ids of the slots up to the end token; -1 the start, -2 other slots that hold no word.
std::vector<int64_t> ids_of(const Part& part) {
  const PromptTokens& prompt = part.prompt;
  const int64_t last = prompt.tokens.empty() ? part.first - 1 : prompt.tokens.back().position;
  std::vector<int64_t> ids(static_cast<size_t>(std::min(last + 2, prompt.length)), -2);
  for (int64_t start = 0; start < part.first && start < static_cast<int64_t>(ids.size()); ++start)
    ids[static_cast<size_t>(start)] = -1;
  for (const PromptToken& token : prompt.tokens) ids[static_cast<size_t>(token.position)] = token.id;
  return ids;
}

// Word for word in one encoder's slots.
void replace_part(TokenAlignment& out, const Part& source, const Part& target) {
  const std::vector<PlacedWord> from = placed_words(source.prompt), to = placed_words(target.prompt);
  const auto put = [&](int64_t c, int64_t t, float share) { set(out, source.begin + c, target.begin + t, share); };
  for (int64_t start = 0; start < source.first; ++start) put(start, start, 1);
  int64_t i = source.first, j = target.first;  // behind the last word that both windows hold
  for (size_t w = 0; w < from.size(); ++w) {
    const std::vector<int64_t>&a = from[w].positions, &b = to[w].positions;
    if (a.empty() || b.empty()) break;
    for (; i < a.front() && j < b.front(); ++i, ++j) put(i, j, 1);  // a space that is a piece of its own
    for (; j < b.front(); ++j) out.aligned[static_cast<size_t>(target.begin + j)] = 0;
    for (size_t x = 0; x < a.size(); ++x) {
      if (a.size() == b.size()) {
        put(a[x], b[x], 1);
      } else {
        for (const int64_t t : b) put(a[x], t, 1.0f / static_cast<float>(b.size()));
      }
    }
    i = a.back() + 1, j = b.back() + 1;
  }
  // End and padding follow both texts.
  for (; i < source.prompt.length && j < target.prompt.length; ++i, ++j) put(i, j, 1);
}

enum class Step : uint8_t { stop, left, up, both };

}  // namespace

std::vector<PlacedWord> placed_words(const PromptTokens& prompt) {
  std::vector<PlacedWord> out;
  const std::string& text = prompt.text;
  for (size_t begin = text.find_first_not_of(" \t\n"); begin != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
    PlacedWord& word = out.emplace_back(PlacedWord{text.substr(begin, end - begin), {}});
    for (const PromptToken& token : prompt.tokens) {
      if (token.begin < end && token.end > begin) word.positions.push_back(token.position);
    }
    begin = text.find_first_not_of(" \t\n", end);
  }
  return out;
}

bool TokenAlignment::is_identity() const {
  for (int64_t c = 0; c < slots; ++c) {
    for (int64_t t = 0; t < slots; ++t) {
      if (at(c, t) != (c == t ? 1.0f : 0.0f)) return false;
    }
  }
  return true;
}

TokenAlignment identity_alignment(int64_t slots) {
  TokenAlignment out = nothing(slots);
  for (int64_t i = 0; i < slots; ++i) set(out, i, i, 1);
  return out;
}

TokenAlignment replace_words(const PromptTokens& source, const PromptTokens& target, const std::string& where) {
  const std::vector<PlacedWord> from = placed_words(source), to = placed_words(target);
  if (from.size() != to.size()) {
    fail(ErrorCode::usage, where, "as many words in both prompts to replace",
         std::to_string(from.size()) + " and " + std::to_string(to.size()), "edit: refine");
  }
  TokenAlignment out = nothing(source.length);
  for (const auto& [ours, theirs] : parts_of(source, target)) replace_part(out, ours, theirs);
  return out;
}

namespace {

void align_part(TokenAlignment& out, const Part& source, const Part& target) {
  const std::vector<int64_t> x = ids_of(source), y = ids_of(target);
  const size_t width = y.size() + 1;
  std::vector<int> score((x.size() + 1) * width, 0);
  std::vector<Step> back(score.size(), Step::up);
  for (size_t j = 0; j < width; ++j) back[j] = j == 0 ? Step::stop : Step::left;
  for (size_t i = 1; i <= x.size(); ++i) {
    for (size_t j = 1; j <= y.size(); ++j) {
      const int left = score[i * width + j - 1], up = score[(i - 1) * width + j];
      const int both = score[(i - 1) * width + j - 1] + (x[i - 1] == y[j - 1] ? 1 : -1);
      const int best = std::max({left, up, both});
      score[i * width + j] = best;
      back[i * width + j] = best == left ? Step::left : best == up ? Step::up : Step::both;
    }
  }
  const auto target_at = [&](size_t t) { return target.begin + static_cast<int64_t>(t); };
  const auto clear = [&](size_t t) {
    for (int64_t c = 0; c < out.slots; ++c) set(out, c, target_at(t), 0);
  };
  for (size_t i = x.size(), j = y.size(); i > 0 || j > 0;) {
    switch (back[i * width + j]) {
      case Step::left:
        clear(--j);
        out.aligned[static_cast<size_t>(target_at(j))] = 0;
        break;
      case Step::both:
        clear(--j);
        set(out, source.begin + static_cast<int64_t>(--i), target_at(j), 1);
        break;
      default:
        --i;
    }
  }
}

}  // namespace

TokenAlignment align_tokens(const PromptTokens& source, const PromptTokens& target) {
  TokenAlignment out = identity_alignment(source.length);
  for (const auto& [ours, theirs] : parts_of(source, target)) align_part(out, ours, theirs);
  return out;
}

}  // namespace heddle
