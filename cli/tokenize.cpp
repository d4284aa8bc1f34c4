// heddle tokenize: what the text encoders read.
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "encoders/clip_tokenizer.h"
#include "encoders/t5_tokenizer.h"
#include "kernels/core/error.h"

namespace heddle::cli {
namespace {

namespace fs = std::filesystem;

// The tokenizers of a model folder, or the folder itself where it is one.
std::vector<std::string> tokenizer_folders(const std::string& model) {
  std::vector<std::string> folders;
  for (const char* name : {"tokenizer", "tokenizer_2", "tokenizer_3"}) {
    if (fs::is_directory(fs::path(model) / name)) folders.push_back((fs::path(model) / name).string());
  }
  if (!folders.empty()) return folders;
  for (const char* name : {"vocab.json", "tokenizer.json", "spiece.model"}) {
    if (fs::exists(fs::path(model) / name)) return {model};
  }
  fail(ErrorCode::input, model, "a folder with tokenizer/, vocab.json, tokenizer.json or spiece.model", "none of them");
}

void print_ids(const std::vector<int64_t>& ids) {
  for (size_t i = 0; i < ids.size(); ++i) std::cout << (i ? " " : "") << ids[i];
  std::cout << std::endl;
}

template <typename Tokenizer>
void print_pieces(const Tokenizer& tokenizer, const std::string& text) {
  for (const Piece& piece : tokenizer.pieces(text)) {
    std::cerr << piece.id << "  " << tokenizer.decode_piece(piece.id) << "  " << piece.begin << ".." << piece.end
              << "\n";
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  struct Arguments {
    std::string model, text;
    bool pieces = false;
    int64_t length = 0;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tokenize",
                                         "Print the token ids of a text, one line per tokenizer: CLIP's padded as the "
                                         "encoder reads them, T5's up to </s>");
  command->add_option("--model", a->model, "Model folder, or a tokenizer folder")->required();
  command->add_option("--text", a->text, "The text")->required();
  command->add_flag("--pieces", a->pieces, "Also print each token's text and the bytes it came from, to stderr");
  command->add_option("--length", a->length, "Cut and pad T5's ids to so many (the models' pipelines use 77 to 512)");
  command->callback([a] {
    for (const std::string& folder : tokenizer_folders(a->model)) {
      if (holds_t5_tokenizer(folder)) {
        const T5Tokenizer tokenizer = T5Tokenizer::load(folder);
        print_ids(a->length != 0 ? tokenizer.encode_padded(a->text, a->length).ids : tokenizer.encode(a->text));
        if (a->pieces) print_pieces(tokenizer, a->text);
      } else {
        const ClipTokenizer tokenizer = ClipTokenizer::load(folder);
        print_ids(tokenizer.encode_padded(a->text));
        if (a->pieces) print_pieces(tokenizer, a->text);
      }
    }
  });
}

}  // namespace heddle::cli
