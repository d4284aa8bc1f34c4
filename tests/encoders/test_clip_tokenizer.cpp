// The CLIP tokenizer against transformers on hard texts, over the forms in which its folders are published, and against
// broken files.
#include "encoders/clip_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "tests/encoders/error_of.h"

namespace heddle {
namespace {

using testing::error_of;

namespace fs = std::filesystem;
using nlohmann::json;

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/encoders/tokenizer";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A folder that vanishes with the test.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("heddle_tokenizer_" + std::to_string(::getpid()));
  explicit Folder(const std::string& base = "pair") {
    fs::remove_all(path);
    fs::create_directories(path);
    for (const auto& file : fs::directory_iterator(fixtures + "/" + base)) fs::copy(file, path);
  }
  ~Folder() { fs::remove_all(path); }
  ClipTokenizer load() const { return ClipTokenizer::load(path.string()); }
};

TEST(ClipTokenizer, agrees_with_transformers_on_hard_texts_in_every_form_of_folder) {
  const json fixture = json::parse(read(fixtures + "/cases.json"));
  const auto texts = fixture["texts"].get<std::vector<std::string>>();
  ASSERT_GE(texts.size(), 80u);
  for (const json& test : fixture["cases"]) {
    const Folder folder(test["base"]);
    for (const auto& [name, content] : test["files"].items()) write(folder.path / name, content.dump());
    const ClipTokenizer tokenizer = folder.load();
    SCOPED_TRACE(test["name"].get<std::string>());
    EXPECT_EQ(tokenizer.bos(), test["bos"]);
    EXPECT_EQ(tokenizer.eos(), test["eos"]);
    EXPECT_EQ(tokenizer.pad(), test["pad"]);
    EXPECT_EQ(tokenizer.model_max_length(), test["length"]);
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string key = std::to_string(i);
      const json& ids = test["ids"].contains(key) ? test["ids"][key] : fixture["cases"][0]["ids"][key];
      EXPECT_EQ(json(tokenizer.encode(texts[i])), ids) << "text " << i << ": " << texts[i];
      if (test["padded"].contains(key)) {
        EXPECT_EQ(json(tokenizer.encode_padded(texts[i])), test["padded"][key]) << texts[i];
      }
    }
  }
}

TEST(ClipTokenizer, pieces_know_the_bytes_they_came_from) {
  const json fixture = json::parse(read(fixtures + "/cases.json"));
  const ClipTokenizer tokenizer = Folder().load();
  for (const json& test : fixture["cases"]) {
    if (!test.contains("offsets")) continue;
    for (size_t i = 0; i < fixture["texts"].size(); ++i) {
      const std::string text = fixture["texts"][i];
      const auto pieces = tokenizer.pieces(text);
      ASSERT_EQ(pieces.size(), test["offsets"][i].size()) << text;
      for (size_t p = 0; p < pieces.size(); ++p) {
        const size_t begin = test["offsets"][i][p][0], end = test["offsets"][i][p][1];
        if (fixture["nfc"][i]) {
          EXPECT_TRUE(pieces[p].begin == begin && pieces[p].end == end) << text << " piece " << p;
        } else {  // of what composes, transformers counts the first character, and this tokenizer all
          EXPECT_TRUE(pieces[p].begin <= begin && end <= pieces[p].end) << text << " piece " << p;
        }
      }
    }
  }
}

TEST(ClipTokenizer, decodes_what_it_encoded) {
  const ClipTokenizer tokenizer = Folder().load();
  std::string text;
  for (const int64_t id : tokenizer.encode("a Cat's 猫 🐱")) text += tokenizer.decode_piece(id);
  EXPECT_EQ(text, "a cat 's 猫 🐱 ");
  EXPECT_EQ(tokenizer.decode_piece(tokenizer.bos()), "<|startoftext|>");
  EXPECT_THROW(tokenizer.decode_piece(-1), Error);
  EXPECT_THROW(tokenizer.decode_piece(1 << 20), Error);
}

TEST(ClipTokenizer, refuses_text_that_is_not_utf8) {
  const ClipTokenizer tokenizer = Folder().load();
  for (const char* text : {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "ok \x80 ok", "\xe2\x82"}) {
    EXPECT_EQ(error_of([&] { tokenizer.encode(text); }, text), ErrorCode::usage);
  }
}

TEST(ClipTokenizer, long_hostile_texts_take_linear_time) {
  const ClipTokenizer tokenizer = Folder().load();
  std::string marks = "a", one_word, syllables;
  for (int i = 0; i < 200000; ++i) {
    marks += i % 2 ? "\xcc\x81" : "\xcc\xa3";  // acute above, dot below: out of canonical order
    one_word += "ab";
    syllables += "\xe1\x84\x80\xe1\x85\xa1";  // Hangul jamo
  }
  EXPECT_GT(tokenizer.encode(marks).size(), 1000u);
  EXPECT_GT(tokenizer.encode(one_word).size(), 1000u);
  EXPECT_GT(tokenizer.encode(syllables).size(), 1000u);
}

struct Broken {
  const char* name;
  const char* base;
  const char* file;
  std::string content;
};

std::vector<Broken> broken_files() {
  const std::string nested = std::string(100000, '[');
  std::vector<Broken> out;
  for (const char* file :
       {"vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"}) {
    const char* base = std::string_view(file) == "tokenizer.json" ? "json" : "pair";
    for (const std::string& content :
         {std::string(), std::string("{"), std::string("[]"), std::string("7"), nested,
          std::string("{\"bos_token\": 1,}"), std::string("\xff\xfe\x00\x01", 4), std::string("{\"a\":\"\xff\"}")}) {
      out.push_back({file, base, file, content});
    }
  }
  for (const char* text :
       {"{}", R"({"a": -1})", R"({"a": 1.5})", R"({"a": "1"})", R"({"a": 1e30})", R"({"a": 18446744073709551615})",
        R"({"a": 4294967296})", R"({"a": null})", R"({"a": [1]})"}) {
    out.push_back({"vocab.json", "pair", "vocab.json", text});
  }
  for (const char* text : {"a", "a b c\n", "a b\n\na b\n", "nowhere a\n", "a  b\n", " \n", "\xff \xfe\n"}) {
    out.push_back({"merges.txt", "pair", "merges.txt", text});
  }
  for (const char* text :
       {R"({"model": 1})", R"({"model": {"type": "Unigram", "vocab": {}, "merges": []}})",
        R"({"model": {"vocab": []}})", R"({"model": {"vocab": {}, "merges": {}}})",
        R"({"model": {"vocab": {"a": 0}, "merges": [["a"]]}})", R"({"model": {"vocab": {"a": 0}, "merges": ["a"]}})",
        R"({"model": {"vocab": {"a": 0}, "merges": [1]}})",
        R"({"model": {"vocab": {"a": 0}, "merges": []}, "added_tokens": {}})",
        R"({"model": {"vocab": {"a": 0}, "merges": []}, "added_tokens": [{"id": "x", "content": "y"}]})"}) {
    out.push_back({"tokenizer.json", "json", "tokenizer.json", text});
  }
  for (const char* text :
       {R"({"model_max_length": 2})", R"({"model_max_length": -5})", R"({"model_max_length": "x"})",
        R"({"padding_side": "up"})", R"({"truncation_side": 1})", R"({"split_special_tokens": 1})",
        R"({"added_tokens_decoder": []})", R"({"added_tokens_decoder": {"x": {"content": "y"}}})",
        R"({"added_tokens_decoder": {"1": {"content": 7}}})", R"({"added_tokens_decoder": {"1": 3}})",
        R"({"added_tokens_decoder": {"99999999999999999999": {"content": "y"}}})", R"({"bos_token": {"lstrip": true}})",
        R"({"added_tokens_decoder": {"1": {"content": "<X>"}, "2": {"content": "<x>"}}})"}) {
    out.push_back({"tokenizer_config.json", "pair", "tokenizer_config.json", text});
  }
  return out;
}

TEST(ClipTokenizer, broken_files_give_one_clean_error) {
  for (const Broken& broken : broken_files()) {
    const Folder folder(broken.base);
    write(folder.path / broken.file, broken.content);
    EXPECT_EQ(error_of([&] { folder.load(); }, broken.content.substr(0, 60)), ErrorCode::input)
        << broken.file << " " << broken.content.substr(0, 60);
  }
  for (const char* file : {"vocab.json", "merges.txt"}) {
    const Folder folder;
    fs::remove(folder.path / file);
    EXPECT_EQ(error_of([&] { folder.load(); }, file), ErrorCode::input);
    fs::create_directory(folder.path / file);
    EXPECT_EQ(error_of([&] { folder.load(); }, file), ErrorCode::input);
  }
}

TEST(ClipTokenizer, truncated_files_never_crash) {
  for (const auto& [base, file] :
       {std::pair("pair", "vocab.json"), {"pair", "merges.txt"}, {"json", "tokenizer.json"}}) {
    const std::string whole = read(fixtures + "/" + base + "/" + file);
    for (size_t length = 0; length < whole.size(); length += whole.size() / 23 + 1) {
      const Folder folder(base);
      write(folder.path / file, whole.substr(0, length));
      try {
        folder.load().encode("a photo of a cat");  // merges cut at the end of a line are a smaller tokenizer
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace heddle
