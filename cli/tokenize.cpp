// heddle tokenize: what the text encoders read.
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "encoders/clip_tokenizer.h"
#include "kernels/core/error.h"

namespace heddle::cli {
namespace {

namespace fs = std::filesystem;

// The tokenizers of a model folder, or the folder itself where it is one.
std::vector<std::string> tokenizer_folders(const std::string& model) {
  std::vector<std::string> folders;
  for (const char* name : {"tokenizer", "tokenizer_2"}) {
    if (fs::is_directory(fs::path(model) / name)) folders.push_back((fs::path(model) / name).string());
  }
  if (!folders.empty()) return folders;
  if (fs::exists(fs::path(model) / "vocab.json") || fs::exists(fs::path(model) / "tokenizer.json")) return {model};
  fail(ErrorCode::input, model, "a folder with tokenizer/, vocab.json or tokenizer.json", "none of them");
}

}  // namespace

void add_tokenize(CLI::App& app) {
  struct Arguments {
    std::string model, text;
    bool pieces = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "tokenize", "Print the token ids of a text, one line per tokenizer, padded as the encoder reads them");
  command->add_option("--model", a->model, "Model folder, or a tokenizer folder")->required();
  command->add_option("--text", a->text, "The text")->required();
  command->add_flag("--pieces", a->pieces, "Also print each token's text and the bytes it came from, to stderr");
  command->callback([a] {
    for (const std::string& folder : tokenizer_folders(a->model)) {
      const ClipTokenizer tokenizer = ClipTokenizer::load(folder);
      const std::vector<int64_t> ids = tokenizer.encode_padded(a->text);
      for (size_t i = 0; i < ids.size(); ++i) std::cout << (i ? " " : "") << ids[i];
      std::cout << std::endl;
      if (!a->pieces) continue;
      for (const Piece& piece : tokenizer.pieces(a->text)) {
        std::cerr << piece.id << "  " << tokenizer.decode_piece(piece.id) << "  " << piece.begin << ".." << piece.end
                  << "\n";
      }
    }
  });
}

}  // namespace heddle::cli
