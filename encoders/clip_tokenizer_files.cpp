// The files of a CLIP tokenizer folder, read as transformers 5 does: of tokenizer.json only the vocabulary, the merges
// and the added tokens count, because the class rebuilds the rest.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "encoders/clip_tokenizer.h"
#include "encoders/special_tokens.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr int64_t largest_file = int64_t{16} << 20;  // published ones have 2 to 4 MB

void read_vocabulary(const Json& object, Vocabulary& out) {
  if (!object.is_object()) object.fail_type("an object of tokens and ids");
  for (const auto& [token, id] : object.node().items()) {
    const bool whole = id.is_number_unsigned() && id.get<uint64_t>() < (uint64_t{1} << 31);
    if (!whole)
      fail(ErrorCode::input, object.where(), "ids from 0 to 2^31 - 1", "the id of '" + token + "' is " + id.dump());
    out.emplace(token, id.get<int64_t>());
  }
}

std::pair<std::string, std::string> merge_rule(std::string_view line, const std::string& where, size_t number) {
  const size_t space = line.find(' ');
  if (space == line.npos || line.find(' ', space + 1) != line.npos) {
    fail(ErrorCode::input, where, "two tokens in each merge rule",
         "'" + std::string(line) + "' as rule " + std::to_string(number));
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

MergeRules read_merges_text(const std::string& path) {
  const std::string text = read_file(path, largest_file);
  MergeRules rules;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("#version")) rules.push_back(merge_rule(line, path, rules.size() + 1));
    begin = end + 1;
  }
  return rules;
}

MergeRules read_merges_json(const Json& list) {
  if (!list.is_array()) list.fail_type("a list of merge rules");
  MergeRules rules;
  for (const auto& rule : list.node()) {
    const bool pair = rule.is_array() && rule.size() == 2 && rule[0].is_string() && rule[1].is_string();
    if (pair) {
      rules.emplace_back(rule[0].get<std::string>(), rule[1].get<std::string>());
    } else if (rule.is_string()) {
      rules.push_back(merge_rule(rule.get_ref<const std::string&>(), list.where(), rules.size() + 1));
    } else {
      fail(ErrorCode::input, list.where(), "pairs of tokens",
           "rule " + std::to_string(rules.size() + 1) + " of another kind");
    }
  }
  return rules;
}

void read_model(const std::string& folder, const std::optional<Json>& tokenizer, ClipTokenizerFiles& files) {
  if (tokenizer) {
    const Json model = tokenizer->get<Json>("model");
    const auto type = model.get_or<std::string>("type", "BPE");
    if (type != "BPE") fail(ErrorCode::input, model.where(), "type BPE, byte pairs as CLIP has them", type);
    read_vocabulary(model.get<Json>("vocab"), files.vocabulary);
    files.merges = read_merges_json(model.get<Json>("merges"));
    return;
  }
  const std::string vocabulary = folder + "/vocab.json", merges = folder + "/merges.txt";
  for (const std::string& path : {vocabulary, merges}) {
    if (!std::filesystem::exists(path)) {
      fail(ErrorCode::input, folder, "vocab.json and merges.txt, or tokenizer.json",
           "no " + path.substr(folder.size() + 1), "the tokenizer folder of the model");
    }
  }
  read_vocabulary(Json::read(vocabulary, largest_file), files.vocabulary);
  files.merges = read_merges_text(merges);
}

}  // namespace

ClipTokenizerFiles read_clip_tokenizer(const std::string& folder) {
  ClipTokenizerFiles files;
  files.where = folder;
  const auto tokenizer = read_tokenizer_file(folder, "tokenizer.json");
  const auto config = read_tokenizer_file(folder, "tokenizer_config.json");
  read_model(folder, tokenizer, files);
  SpecialTokens named = SpecialTokens::read(folder, config, tokenizer);
  const std::pair<const char*, std::string*> tokens[] = {
      {"bos_token", &files.bos}, {"eos_token", &files.eos}, {"unk_token", &files.unknown}, {"pad_token", &files.pad}};
  for (const auto& [name, content] : tokens) *content = named.resolve(name, *content);
  files.added = named.in_order();
  files.pad_left = is_left(config, "padding_side");
  files.truncate_left = is_left(config, "truncation_side");
  files.split_special = config && config->get_or<bool>("split_special_tokens", false);
  files.model_max_length = read_model_length(config, 3, 77);
  return files;
}

}  // namespace heddle
