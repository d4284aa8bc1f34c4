// The files of a tokenizer folder from any bytes, then a text through what they make. A byte 1 ends one file and begins
// the next: tokenizer.json alone, or vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json,
// added_tokens.json.
#include "encoders/clip_tokenizer.h"
#include "io/file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  std::string_view rest = testing::text_of(data, size);
  const bool alone = rest.find('\1') == rest.npos;
  const std::string folder = testing::scratch_folder() + (alone ? "/alone" : "/pair");
  std::filesystem::create_directories(folder);
  const char* names[] = {alone ? "tokenizer.json" : "vocab.json", "merges.txt", "tokenizer_config.json",
                         "special_tokens_map.json", "added_tokens.json"};
  for (const char* name : names) {
    const std::string path = folder + "/" + name;
    std::filesystem::remove(path);
    if (rest.empty()) continue;
    const size_t end = std::min(rest.find('\1'), rest.size());
    write_file(path, rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return testing::accept([&] { ClipTokenizer::load(folder).encode_padded("a cat's 2 balloons"); });
}
