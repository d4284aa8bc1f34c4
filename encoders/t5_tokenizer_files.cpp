// The files of a T5 tokenizer folder. spiece.model gives what T5Tokenizer of transformers 5 makes of it; a
// tokenizer.json alone gives what it states itself. Of the other files the rules of special_tokens.h hold.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "encoders/charsmap.h"
#include "encoders/special_tokens.h"
#include "encoders/spiece_model.h"
#include "encoders/t5_tokenizer.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr int64_t most_extra_ids = 100000;

std::string extra_id(int64_t i) {
  return "<extra_id_" + std::to_string(i) + ">";
}

// The sentinels of pre-training stand behind the pieces, the last first. As tokens of their own they and what the model
// says of its pieces count only where the files list no additional tokens.
void read_spiece(const std::string& path, int64_t extra_ids, SpecialTokens& named, T5TokenizerFiles& files) {
  const SpieceModel model = SpieceModel::read(path);
  files.model.where = path;
  files.model.unknown = model.unknown;
  const bool listed = named.has_extra();
  for (const SpieceModel::Piece& piece : model.pieces) {
    files.model.pieces.emplace_back(piece.text, piece.score);
    const bool control = piece.kind == SpieceModel::Kind::control;
    if (!listed && (control || piece.kind == SpieceModel::Kind::user_defined))
      named.add_extra({.content = piece.text, .normalized = false, .special = control});
  }
  for (int64_t i = extra_ids; i-- > 0;) files.model.pieces.emplace_back(extra_id(i), 0);
  for (int64_t i = 0; i < extra_ids && !listed; ++i)
    named.add_extra({.content = extra_id(i), .normalized = false, .special = true});
  if (!model.charsmap.empty()) files.normalizer.add(Charsmap(model.charsmap, path));
}

void read_pieces(const Json& list, UnigramFile& out) {
  if (!list.is_array()) list.fail_type("a list of pieces and log probabilities");
  for (const auto& entry : list.node()) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fail(ErrorCode::input, list.where(), "pairs of a piece and its log probability",
           "entry " + std::to_string(out.pieces.size()) + " of another kind");
    }
    out.pieces.emplace_back(entry[0].get<std::string>(), entry[1].get<double>());
  }
}

// TemplateProcessing: the ids of special tokens before and after the text.
void read_template(const Json& json, T5TokenizerFiles& files) {
  if (const auto type = json.get<std::string>("type"); type != "TemplateProcessing")
    fail(ErrorCode::input, json.where() + " type", "TemplateProcessing", type);
  const Json parts = json.get<Json>("single");
  bool behind = false;
  files.around.emplace();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].has("Sequence")) {
      behind = true;
      continue;
    }
    const auto name = parts[i].get<Json>("SpecialToken").get<std::string>("id");
    const Json ids = json.get<Json>("special_tokens").get<Json>(name).get<Json>("ids");
    for (const int64_t id : ids.as<std::vector<int64_t>>())
      (behind ? files.around->second : files.around->first).push_back(id);
  }
}

void read_json(const Json& tokenizer, T5TokenizerFiles& files) {
  const Json model = tokenizer.get<Json>("model");
  const auto type = model.get_or<std::string>("type", "Unigram");
  if (type != "Unigram") fail(ErrorCode::input, model.where(), "type Unigram, as T5 has it", type);
  files.model.where = model.where();
  read_pieces(model.get<Json>("vocab"), files.model);
  files.model.unknown = model.get<int64_t>("unk_id");
  files.model.byte_fallback = model.get_or<bool>("byte_fallback", false);
  if (tokenizer.has("normalizer")) files.normalizer = Normalizer::from(tokenizer.get<Json>("normalizer"));
  files.words = WordSplitter();
  if (tokenizer.has("pre_tokenizer")) files.words = WordSplitter::from(tokenizer.get<Json>("pre_tokenizer"));
  if (tokenizer.has("post_processor")) read_template(tokenizer.get<Json>("post_processor"), files);
}

int64_t read_extra_ids(const std::optional<Json>& config) {
  const int64_t count = config ? config->get_or<int64_t>("extra_ids", 100) : 100;
  if (count < 0 || count > most_extra_ids) {
    fail(ErrorCode::input, config->where() + " extra_ids", "0 to " + std::to_string(most_extra_ids),
         std::to_string(count));
  }
  return count;
}

}  // namespace

T5TokenizerFiles read_t5_tokenizer(const std::string& folder) {
  T5TokenizerFiles files;
  files.where = folder;
  const std::string spiece = folder + "/spiece.model";
  const auto tokenizer = read_tokenizer_file(folder, "tokenizer.json");
  const auto config = read_tokenizer_file(folder, "tokenizer_config.json");
  const int64_t extra_ids = read_extra_ids(config);
  SpecialTokens named = SpecialTokens::read(folder, config, tokenizer);
  if (std::filesystem::exists(spiece)) {
    read_spiece(spiece, extra_ids, named, files);
  } else if (tokenizer) {
    read_json(*tokenizer, files);
  } else {
    fail(ErrorCode::input, folder, "spiece.model or tokenizer.json", "neither", "the tokenizer folder of the model");
  }
  const std::pair<const char*, std::string*> tokens[] = {
      {"eos_token", &files.eos}, {"unk_token", &files.unknown}, {"pad_token", &files.pad}};
  for (const auto& [name, content] : tokens) *content = named.resolve(name, *content);
  files.added = named.in_order();
  files.pad_left = is_left(config, "padding_side");
  files.truncate_left = is_left(config, "truncation_side");
  files.split_special = config && config->get_or<bool>("split_special_tokens", false);
  files.model_max_length = read_model_length(config, 1, 512);
  return files;
}

bool holds_t5_tokenizer(const std::string& folder) {
  if (std::filesystem::exists(folder + "/spiece.model")) return true;
  const auto tokenizer = read_tokenizer_file(folder, "tokenizer.json");
  return tokenizer && tokenizer->has("model") &&
         tokenizer->get<Json>("model").get_or<std::string>("type", "") == "Unigram";
}

}  // namespace heddle
