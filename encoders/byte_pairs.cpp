// Byte-pair encoding with a queue of possible merges: n log n in the length of the word.
#include "encoders/byte_pairs.h"

#include <queue>
#include <tuple>

#include "encoders/unicode.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

uint64_t key_of(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// A part of the word while it is being merged; parts form a doubly linked list. A part merged into its left neighbour
// covers no bytes any more.
struct Symbol {
  int64_t id;
  size_t bytes;
  int previous, next;  // -1 at the ends
};

struct Candidate {
  int64_t rank;
  int position;
  int64_t whole;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

char32_t byte_symbol(uint8_t byte) {
  if (is_printable(byte)) return byte;
  char32_t symbol = 0x100;  // the others follow one another from U+0100
  for (int b = 0; b < byte; ++b) symbol += is_printable(b) ? 0 : 1;
  return symbol;
}

BytePairs::BytePairs(const Vocabulary& vocabulary, const MergeRules& rules, const std::string& unknown,
                     std::string where)
    : where_(std::move(where)) {
  const auto id_of = [&](const std::string& token) {
    const auto found = vocabulary.find(token);
    return found == vocabulary.end() ? -1 : found->second;
  };
  for (int byte = 0; byte < 256; ++byte) {
    std::string symbol;
    append_utf8(symbol, byte_symbol(static_cast<uint8_t>(byte)));
    inner_[static_cast<size_t>(byte)] = id_of(symbol);
    last_[static_cast<size_t>(byte)] = id_of(symbol + "</w>");
  }
  unknown_ = id_of(unknown);
  rules_.reserve(rules.size());
  for (size_t rank = 0; rank < rules.size(); ++rank) {
    const auto& [left, right] = rules[rank];
    const int64_t ids[] = {id_of(left), id_of(right), id_of(left + right)};
    const std::string* parts[] = {&left, &right};
    for (int i = 0; i < 3; ++i) {
      if (ids[i] < 0) {
        fail(ErrorCode::input, where_, "merge rules over tokens of the vocabulary",
             "rule " + std::to_string(rank + 1) + " with '" + (i < 2 ? *parts[i] : left + right) + "'",
             "the vocabulary and the merges of one model");
      }
    }
    rules_[key_of(ids[0], ids[1])] = {static_cast<int64_t>(rank), ids[2]};
  }
}

const BytePairs::Rule* BytePairs::rule(int64_t left, int64_t right) const {
  const auto found = rules_.find(key_of(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

std::vector<WordPart> BytePairs::encode(std::string_view word) const {
  std::vector<Symbol> symbols;
  const int count = static_cast<int>(word.size());
  for (int i = 0; i < count; ++i) {
    const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
    int64_t id = i + 1 == count ? last_[byte] : inner_[byte];
    if (id < 0) id = unknown_;
    if (id < 0) {
      fail(ErrorCode::input, where_, "an id for every byte, or an unknown token in the vocabulary",
           "no id for byte " + std::to_string(byte));
    }
    symbols.push_back({id, 1, i - 1, i + 1 == count ? -1 : i + 1});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto propose = [&](int left) {
    if (left < 0 || symbols[left].next < 0) return;
    const Rule* found = rule(symbols[left].id, symbols[symbols[left].next].id);
    if (found) queue.push({found->rank, left, found->whole});
  };
  for (int i = 0; i < count; ++i) propose(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.bytes == 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    const Rule* found = rule(left.id, right.id);
    if (!found || found->whole != best.whole) continue;  // one of the two has changed since
    left = {best.whole, left.bytes + right.bytes, left.previous, right.next};
    right.bytes = 0;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    propose(left.previous);
    propose(best.position);
  }
  std::vector<WordPart> parts;
  for (const Symbol& symbol : symbols) {
    if (symbol.bytes > 0) parts.push_back({symbol.id, symbol.bytes});
  }
  return parts;
}

}  // namespace heddle
