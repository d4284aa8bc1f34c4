// Special and added tokens from tokenizer_config.json, special_tokens_map.json, added_tokens.json and tokenizer.json.
#include "encoders/special_tokens.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr int64_t largest_file = int64_t{64} << 20;  // published ones have up to 17 MB
constexpr int64_t longest_model = int64_t{1} << 20;  // larger values are Python's way to say "no limit"
constexpr const char* special_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};

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

SpecialToken special_token(const Json& value, bool special) {
  if (value.is_object()) return {added_token(value, special), false};
  AddedToken token{.content = value.as<std::string>(), .normalized = false, .special = true};
  return {token, true};
}

}  // namespace

void SpecialTokens::read_specials(const Json& object, bool special) {
  for (const std::string& key : object.keys()) {
    if (!object.has(key)) continue;
    const Json value = object.get<Json>(key);
    if (key == "additional_special_tokens" || key == "extra_special_tokens") {
      if (!value.is_array()) continue;  // an object of them names tokens of other kinds of model
      extra_.clear();
      for (size_t i = 0; i < value.size(); ++i) extra_.push_back(special_token(value[i], true));
    } else if (key.ends_with("_token") && (value.node().is_string() || value.is_object())) {
      values_[key] = special_token(value, special);
    }
  }
}

void SpecialTokens::add_decoded(int64_t id, const AddedToken& token) {
  decoder_[id] = token;
  by_content_[token.content] = token;
}

void SpecialTokens::read_added_tokens_file(const Json& object) {
  for (const std::string& content : object.keys()) {
    const auto is_it = [&](const SpecialToken& special) { return special.token.content == content; };
    const bool special = std::any_of(values_.begin(), values_.end(), [&](const auto& v) { return is_it(v.second); }) ||
                         std::any_of(extra_.begin(), extra_.end(), is_it);
    add_decoded(object.get<int64_t>(content), {.content = content, .normalized = !special, .special = special});
  }
}

SpecialTokens SpecialTokens::read(const std::string& folder, const std::optional<Json>& config,
                                  const std::optional<Json>& tokenizer) {
  SpecialTokens out;
  if (config) out.read_specials(*config, false);
  if (config && config->has("added_tokens_decoder")) {
    const Json decoder = config->get<Json>("added_tokens_decoder");
    for (const std::string& key : decoder.keys()) {
      const bool whole = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == key.npos;
      if (!whole) fail(ErrorCode::input, decoder.where(), "ids as keys", "'" + key + "'");
      out.add_decoded(std::stoll(key), added_token(decoder.get<Json>(key), false));
    }
    return out;
  }
  if (const auto map = read_tokenizer_file(folder, "special_tokens_map.json")) out.read_specials(*map, true);
  if (const auto added = read_tokenizer_file(folder, "added_tokens.json")) out.read_added_tokens_file(*added);
  if (tokenizer && tokenizer->has("added_tokens")) {
    const Json list = tokenizer->get<Json>("added_tokens");
    for (size_t i = 0; i < list.size(); ++i) out.add_decoded(list[i].get<int64_t>("id"), added_token(list[i], false));
  }
  return out;
}

std::string SpecialTokens::resolve(const std::string& name, const std::string& fallback) {
  const bool given = values_.contains(name);
  if (!given) values_[name] = {{.content = fallback, .normalized = false, .special = true}, true};
  SpecialToken& value = values_[name];
  const auto known = by_content_.find(value.token.content);
  if (given && known != by_content_.end()) value = {known->second, false};
  return value.token.content;
}

std::vector<AddedToken> SpecialTokens::in_order() const {
  std::vector<SpecialToken> order;
  for (const auto& [id, token] : decoder_) order.push_back({token, false});
  const auto consider = [&](const SpecialToken& value) {
    if (by_content_.contains(value.token.content)) return;
    if (std::find(order.begin(), order.end(), value) == order.end()) order.push_back(value);
  };
  for (const char* name : special_names) {
    if (const auto found = values_.find(name); found != values_.end()) consider(found->second);
  }
  for (const auto& [name, value] : values_) consider(value);
  for (const SpecialToken& value : extra_) consider(value);
  std::vector<AddedToken> tokens;
  for (SpecialToken& special : order) {
    const auto is_it = [&](const auto& v) { return v.second.token.content == special.token.content; };
    if (std::any_of(values_.begin(), values_.end(), is_it)) special.token.special = true;
    tokens.push_back(special.token);
  }
  return tokens;
}

std::optional<Json> read_tokenizer_file(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return Json::read(path, largest_file);
}

bool is_left(const std::optional<Json>& config, const char* key) {
  const std::string side = config ? config->get_or<std::string>(key, "right") : "right";
  if (side != "left" && side != "right") fail(ErrorCode::input, config->where() + " " + key, "left or right", side);
  return side == "left";
}

int64_t read_model_length(const std::optional<Json>& config, int64_t least, int64_t fallback) {
  if (!config) return fallback;
  const char* key = config->has("model_max_length") ? "model_max_length" : "max_len";
  const double length = config->get_or<double>(key, static_cast<double>(fallback));
  if (length > static_cast<double>(longest_model)) return fallback;
  if (!(length >= static_cast<double>(least))) {
    fail(ErrorCode::input, config->where() + " " + key, "at least " + std::to_string(least) + " tokens",
         std::to_string(length));
  }
  return static_cast<int64_t>(length);
}

}  // namespace heddle
