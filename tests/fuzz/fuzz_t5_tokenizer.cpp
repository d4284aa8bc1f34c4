// The files of a T5 tokenizer folder from any bytes, then a text through what they make. After a byte 0 comes
// spiece.model, after any other tokenizer.json; there a byte 1 ends it and begins tokenizer_config.json.
#include "encoders/t5_tokenizer.h"
#include "io/file.h"
#include "tests/fuzz/accept.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heddle;
  if (size == 0) return 0;
  const bool binary = data[0] == 0;
  const std::string_view rest = testing::text_of(data + 1, size - 1);
  const std::string folder = testing::scratch_folder() + (binary ? "/spiece" : "/json");
  std::filesystem::create_directories(folder);
  std::filesystem::remove(folder + "/tokenizer_config.json");
  const size_t end = binary ? rest.size() : std::min(rest.find('\1'), rest.size());
  write_file(folder + (binary ? "/spiece.model" : "/tokenizer.json"), rest.substr(0, end));
  if (end < rest.size()) write_file(folder + "/tokenizer_config.json", rest.substr(end + 1));
  return testing::accept([&] {
    const T5Tokenizer tokenizer = T5Tokenizer::load(folder);
    const std::string_view text = " a  cat's\n2 balloons e\u0301\u0302 1\u20e3 \uff46\ufb01 </s> \U0001f431";
    for (const Piece& piece : tokenizer.pieces(text)) {
      if (piece.begin > piece.end || piece.end > text.size()) std::abort();
    }
    tokenizer.encode_padded(text, 77);
  });
}
