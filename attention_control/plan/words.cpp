// Words to token positions.
#include "attention_control/plan/words.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "kernels/core/error.h"

namespace heddle {
namespace {

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return c < 128 ? std::tolower(c) : c; });
  return out;
}

bool is_word_byte(char c) {
  return static_cast<unsigned char>(c) >= 128 || std::isalnum(static_cast<unsigned char>(c));
}

// "cat#2" as "cat" and 2; 0 where no number is given.
std::pair<std::string, int> split_number(std::string_view words) {
  const size_t hash = words.rfind('#');
  int number = 0;
  if (hash != std::string_view::npos && hash + 1 < words.size()) {
    const std::string_view digits = words.substr(hash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc() && end == digits.data() + digits.size() && number > 0)
      return {std::string(words.substr(0, hash)), number};
  }
  return {std::string(words), 0};
}

// First bytes of the places where `words` stand as whole words.
std::vector<size_t> places(const std::string& text, const std::string& words) {
  std::vector<size_t> out;
  for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) {
    const size_t end = at + words.size();
    const bool starts = at == 0 || !is_word_byte(text[at - 1]) || !is_word_byte(words.front());
    const bool ends = end == text.size() || !is_word_byte(text[end]) || !is_word_byte(words.back());
    if (starts && ends) out.push_back(at);
  }
  return out;
}

}  // namespace

std::vector<PromptPart> PromptTokens::text_parts() const {
  return parts.empty() ? std::vector<PromptPart>{{.begin = 0, .first = 1, .end = end, .stop = length}} : parts;
}

std::vector<std::vector<int64_t>> PromptTokens::by_part(const std::vector<int64_t>& positions) const {
  std::vector<std::vector<int64_t>> out;
  for (const PromptPart& part : text_parts()) {
    std::vector<int64_t> here;
    std::ranges::copy_if(positions, std::back_inserter(here),
                         [&](int64_t at) { return part.begin <= at && at < part.stop; });
    if (!here.empty()) out.push_back(std::move(here));
  }
  return out;
}

std::vector<int64_t> PromptTokens::find(std::string_view asked, const std::string& where) const {
  const auto [words, number] = split_number(asked);
  const std::vector<size_t> found = words.empty() ? std::vector<size_t>{} : places(lower_case(text), lower_case(words));
  if (found.empty() || static_cast<size_t>(number) > found.size()) {
    const std::string got =
        found.empty() ? "\"" + text + "\"" : std::to_string(found.size()) + " of it in \"" + text + "\"";
    fail(ErrorCode::usage, where, "words of the prompt, not \"" + std::string(asked) + "\"", got);
  }
  std::vector<int64_t> positions;
  for (size_t i = 0; i < found.size(); ++i) {
    if (number > 0 && i + 1 != static_cast<size_t>(number)) continue;
    for (const PromptToken& token : tokens) {
      if (token.begin < found[i] + words.size() && token.end > found[i] && token.begin < token.end)
        positions.push_back(token.position);
    }
  }
  if (positions.empty()) {
    fail(ErrorCode::usage, where, "words inside the text encoder's window, not \"" + std::string(asked) + "\"",
         "a prompt cut before them", "text.long_prompts: chunks, or where T5 reads a larger text.max_sequence_length");
  }
  return positions;
}

}  // namespace heddle
