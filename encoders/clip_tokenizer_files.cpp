// The files of a CLIP tokenizer folder, read in the order and with the precedence of transformers 5 (from_pretrained of
// a tokenizer whose class rebuilds its pipeline): of tokenizer.json only the vocabulary, the merges and the added
// tokens count, and special_tokens_map.json and added_tokens.json only where tokenizer_config.json has no
// added_tokens_decoder.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "encoders/clip_tokenizer.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr int64_t largest_file = int64_t{16} << 20;  // published ones have 2 to 4 MB
constexpr int64_t longest_model = int64_t{1} << 20;  // larger values are Python's way to say "no limit"
constexpr const char* special_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};

// A special token as the files name it: a bare text has no flags of its own.
struct Special {
  AddedToken token;
  bool bare = true;
  bool operator==(const Special&) const = default;
};

// Everything that the files say about tokens beside the vocabulary.
struct Named {
  std::map<std::string, Special> values;  // by "bos_token" and so on
  std::vector<Special> extra;
  std::map<int64_t, AddedToken> decoder;         // by the id the files state
  std::map<std::string, AddedToken> by_content;  // the same
};

std::optional<Json> read_optional(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return Json::read(path, largest_file);
}

AddedToken added_token(const Json& value, bool special) {
  AddedToken token;
  token.content = value.get<std::string>("content");
  token.special = special || value.get_or<bool>("special", false);
  token.single_word = value.get_or<bool>("single_word", false);
  token.lstrip = value.get_or<bool>("lstrip", false);
  token.rstrip = value.get_or<bool>("rstrip", false);
  token.normalized = value.get_or<bool>("normalized", !token.special);
  return token;
}

Special special_token(const Json& value, bool special) {
  if (value.is_object()) return {added_token(value, special), false};
  AddedToken token{.content = value.as<std::string>(), .normalized = false, .special = true};
  return {token, true};
}

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

void read_specials(const Json& object, bool special, Named& named) {
  for (const std::string& key : object.keys()) {
    if (!object.has(key)) continue;
    const Json value = object.get<Json>(key);
    if (key == "additional_special_tokens" || key == "extra_special_tokens") {
      if (!value.is_array()) continue;  // an object of them names tokens of other kinds of model
      named.extra.clear();
      for (size_t i = 0; i < value.size(); ++i) named.extra.push_back(special_token(value[i], true));
    } else if (key.ends_with("_token") && (value.node().is_string() || value.is_object())) {
      named.values[key] = special_token(value, special);
    }
  }
}

void add_decoded(int64_t id, const AddedToken& token, Named& named) {
  named.decoder[id] = token;
  named.by_content[token.content] = token;
}

void read_added_tokens_file(const Json& object, Named& named) {
  for (const std::string& content : object.keys()) {
    const auto is_it = [&](const Special& special) { return special.token.content == content; };
    const bool special =
        std::any_of(named.values.begin(), named.values.end(), [&](const auto& v) { return is_it(v.second); }) ||
        std::any_of(named.extra.begin(), named.extra.end(), is_it);
    add_decoded(object.get<int64_t>(content), {.content = content, .normalized = !special, .special = special}, named);
  }
}

Named read_named(const std::string& folder, const std::optional<Json>& config, const std::optional<Json>& tokenizer) {
  Named named;
  if (config) read_specials(*config, false, named);
  if (config && config->has("added_tokens_decoder")) {
    const Json decoder = config->get<Json>("added_tokens_decoder");
    for (const std::string& key : decoder.keys()) {
      const bool whole = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == key.npos;
      if (!whole) fail(ErrorCode::input, decoder.where(), "ids as keys", "'" + key + "'");
      add_decoded(std::stoll(key), added_token(decoder.get<Json>(key), false), named);
    }
    return named;
  }
  if (const auto map = read_optional(folder, "special_tokens_map.json")) read_specials(*map, true, named);
  if (const auto added = read_optional(folder, "added_tokens.json")) read_added_tokens_file(*added, named);
  if (tokenizer && tokenizer->has("added_tokens")) {
    const Json list = tokenizer->get<Json>("added_tokens");
    for (size_t i = 0; i < list.size(); ++i)
      add_decoded(list[i].get<int64_t>("id"), added_token(list[i], false), named);
  }
  return named;
}

// The tokens in the order in which they are added: those with ids, then special ones that are not among them.
std::vector<AddedToken> in_order(Named& named) {
  std::vector<Special> order;
  for (const auto& [id, token] : named.decoder) order.push_back({token, false});
  const auto consider = [&](const Special& value) {
    if (named.by_content.contains(value.token.content)) return;
    if (std::find(order.begin(), order.end(), value) == order.end()) order.push_back(value);
  };
  for (const char* name : special_names) {
    if (const auto found = named.values.find(name); found != named.values.end()) consider(found->second);
  }
  for (const auto& [name, value] : named.values) consider(value);
  for (const Special& value : named.extra) consider(value);
  std::vector<AddedToken> tokens;
  for (Special& special : order) {
    const auto is_it = [&](const auto& v) { return v.second.token.content == special.token.content; };
    if (std::any_of(named.values.begin(), named.values.end(), is_it)) special.token.special = true;
    tokens.push_back(special.token);
  }
  return tokens;
}

bool is_left(const std::optional<Json>& config, const char* key) {
  const std::string side = config ? config->get_or<std::string>(key, "right") : "right";
  if (side != "left" && side != "right") fail(ErrorCode::input, config->where() + " " + key, "left or right", side);
  return side == "left";
}

int64_t read_length(const Json& config) {
  const char* key = config.has("model_max_length") ? "model_max_length" : "max_len";
  const double length = config.get_or<double>(key, 77);
  if (length > static_cast<double>(longest_model)) return 77;
  if (!(length >= 3)) fail(ErrorCode::input, config.where() + " " + key, "at least 3 tokens", std::to_string(length));
  return static_cast<int64_t>(length);
}

}  // namespace

ClipTokenizerFiles read_clip_tokenizer(const std::string& folder) {
  ClipTokenizerFiles files;
  files.where = folder;
  const auto tokenizer = read_optional(folder, "tokenizer.json");
  const auto config = read_optional(folder, "tokenizer_config.json");
  read_model(folder, tokenizer, files);
  Named named = read_named(folder, config, tokenizer);
  const std::pair<const char*, std::string*> defaults[] = {
      {"bos_token", &files.bos}, {"eos_token", &files.eos}, {"unk_token", &files.unknown}, {"pad_token", &files.pad}};
  for (const auto& [name, content] : defaults) {
    const bool given = named.values.contains(name);
    if (!given) named.values[name] = {{.content = *content, .normalized = false, .special = true}, true};
    Special& value = named.values[name];
    const auto known = named.by_content.find(value.token.content);
    if (given && known != named.by_content.end()) value = {known->second, false};
    *content = value.token.content;
  }
  files.added = in_order(named);
  files.pad_left = is_left(config, "padding_side");
  files.truncate_left = is_left(config, "truncation_side");
  files.split_special = config && config->get_or<bool>("split_special_tokens", false);
  if (config) files.model_max_length = read_length(*config);
  return files;
}

}  // namespace heddle
