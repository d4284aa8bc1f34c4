// The T5 tokenizer against transformers and tokenizers on hard texts, over the forms in which its folders are
// published, and against broken files.
#include "encoders/t5_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "encoders/charsmap.h"
#include "encoders/run_pattern.h"
#include "encoders/spiece_model.h"
#include "kernels/core/error.h"
#include "tests/encoders/error_of.h"

namespace heddle {
namespace {

using testing::error_of;

namespace fs = std::filesystem;
using nlohmann::json;

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/encoders/t5_tokenizer";
constexpr const char* forms[] = {"spiece", "config", "json", "old", "bytes", "spm"};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A folder that vanishes with the test.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("heddle_t5_tokenizer_" + std::to_string(::getpid()));
  explicit Folder(const std::string& base = "") {
    fs::remove_all(path);
    fs::create_directories(path);
    if (base.empty()) return;
    for (const auto& file : fs::directory_iterator(fixtures + "/" + base)) fs::copy(file, path);
  }
  ~Folder() { fs::remove_all(path); }
  T5Tokenizer load() const { return T5Tokenizer::load(path.string()); }
};

TEST(T5Tokenizer, agrees_with_transformers_on_hard_texts_in_every_form_of_folder) {
  const auto texts = json::parse(read(fixtures + "/texts.json")).get<std::vector<std::string>>();
  ASSERT_GE(texts.size(), 150u);
  for (const char* form : forms) {
    SCOPED_TRACE(form);
    EXPECT_TRUE(holds_t5_tokenizer(fixtures + "/" + form));
    const T5Tokenizer tokenizer = T5Tokenizer::load(fixtures + "/" + form);
    const json cases = json::parse(read(fixtures + "/" + form + "/cases.json"));
    for (size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(json(tokenizer.encode(texts[i])), cases["ids"][i]) << "text " << i << ": " << texts[i];
    for (const auto& [length, padded] : cases["padded"].items()) {
      for (size_t i = 0; i < padded["ids"].size(); ++i) {
        if (padded["ids"][i].size() != std::stoul(length)) continue;  // tokenizers drops what leaves the end no room
        const PaddedText got = tokenizer.encode_padded(texts[i], std::stol(length));
        EXPECT_EQ(json(got.ids), padded["ids"][i]) << length << ": " << texts[i];
        EXPECT_EQ(std::ranges::count(got.mask, 1), padded["tokens"][i]) << texts[i];
        for (size_t t = 0; t < got.ids.size(); ++t) {
          EXPECT_EQ(got.pieces[t].id, got.ids[t]);
          EXPECT_TRUE(got.mask[t] == 1 || got.ids[t] == tokenizer.pad());
        }
      }
    }
  }
}

TEST(T5Tokenizer, reads_what_the_files_say_of_length_and_sides) {
  const T5Tokenizer plain = T5Tokenizer::load(fixtures + "/spiece"), stated = T5Tokenizer::load(fixtures + "/config");
  EXPECT_EQ(plain.model_max_length(), 512);
  EXPECT_EQ(stated.model_max_length(), 20);
  EXPECT_EQ(plain.eos(), 1);
  EXPECT_EQ(plain.pad(), 0);
  EXPECT_EQ(plain.encode_padded("a", 6).mask.back(), 0);
  EXPECT_EQ(stated.encode_padded("a", 6).mask.front(), 0);
  EXPECT_EQ(plain.encode_padded("a cat", 1).ids, std::vector<int64_t>{1});
  const std::vector<Piece> cat = plain.encode_padded("cat", 6).pieces;  // its pieces, the end, padding
  EXPECT_EQ(cat.front().begin, 0U);
  EXPECT_EQ(std::ranges::max(cat, {}, &Piece::end).end, 3U);
  EXPECT_EQ(plain.encode_padded("cat", 6).pieces.back().end, 0U);
  EXPECT_EQ(stated.encode_padded("cat", 12).pieces.front().end, 0U);
  EXPECT_EQ(error_of([&] { plain.encode_padded("a", 0); }, "length 0"), ErrorCode::usage);
  EXPECT_EQ(error_of([&] { plain.encode_padded("a", int64_t{1} << 40); }, "length 2^40"), ErrorCode::usage);
}

TEST(T5Tokenizer, pieces_know_the_bytes_they_came_from) {
  const T5Tokenizer tokenizer = T5Tokenizer::load(fixtures + "/spiece");
  const std::string text = "  a cat \u732b</s>\ufb01x";
  size_t covered = 0;
  std::string read;
  for (const Piece& piece : tokenizer.pieces(text)) {
    EXPECT_GE(piece.begin, covered);
    EXPECT_LE(piece.end, text.size());
    covered = std::max(covered, piece.begin);
    read += tokenizer.decode_piece(piece.id);
  }
  EXPECT_EQ(read.substr(0, 6), " a cat");
  EXPECT_EQ(tokenizer.pieces("<extra_id_0>").size(), 1u);
  EXPECT_THROW(tokenizer.decode_piece(-1), Error);
  EXPECT_THROW(tokenizer.decode_piece(1 << 20), Error);
}

TEST(T5Tokenizer, refuses_text_that_is_not_utf8) {
  const T5Tokenizer tokenizer = T5Tokenizer::load(fixtures + "/spiece");
  for (const char* text : {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"})
    EXPECT_EQ(error_of([&] { tokenizer.encode(text); }, text), ErrorCode::usage);
}

TEST(T5Tokenizer, long_hostile_texts_take_linear_time) {
  const T5Tokenizer tokenizer = T5Tokenizer::load(fixtures + "/spiece");
  std::string marks = "a", one_word, flags;
  for (int i = 0; i < 100000; ++i) {
    marks += i % 2 ? "\xcc\x81" : "\xcc\xa3";
    one_word += "ab";
    flags += "\U0001f1eb";
  }
  EXPECT_GT(tokenizer.encode(one_word).size(), 1000u);
  EXPECT_GE(tokenizer.encode(marks).size(), 2u);  // all unknown: one piece
  EXPECT_GE(tokenizer.encode(flags).size(), 2u);
}

TEST(Unigram, takes_the_most_probable_cut_and_joins_what_it_does_not_know) {
  UnigramFile file{.where = "test",
                   .pieces = {{"<unk>", 0}, {"a", -1}, {"b", -1.5}, {"ab", -2}, {"abc", -9}, {"c", -4}}};
  const auto ids = [&](const UnigramFile& of, std::string_view word) {
    std::vector<int64_t> out;
    for (const Unigram::Part& part : Unigram(of).encode(word)) out.push_back(part.id);
    return out;
  };
  EXPECT_EQ(ids(file, "abc"), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(ids(file, "a??\u732bb"), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(ids(file, ""), std::vector<int64_t>{});
  file.pieces[3].second = -2.5;  // as probable as a and b: the path that came first stays
  EXPECT_EQ(ids(file, "ab"), (std::vector<int64_t>{3}));
  file.byte_fallback = true;
  file.pieces.emplace_back("<0x3F>", -20);
  EXPECT_EQ(ids(file, "a??"), (std::vector<int64_t>{1, 6, 6}));
  EXPECT_EQ(ids(file, "a?!"), (std::vector<int64_t>{1, 0}));
}

TEST(RunPattern, matches_runs_and_refuses_other_expressions) {
  const auto matches = [](const char* pattern, const char* text, size_t at) {
    return RunPattern::parse(pattern, "test").match(decode_utf8(text, "test"), at);
  };
  EXPECT_EQ(matches(" {2,}", "a   b", 1), 3u);
  EXPECT_EQ(matches(" {2,}", "a b", 1), 0u);
  EXPECT_EQ(matches(" {2}", "    ", 0), 2u);
  EXPECT_EQ(matches(" {1,3}", "     ", 0), 3u);
  EXPECT_EQ(matches(R"(\A +| +\z)", "  a ", 0), 2u);
  EXPECT_EQ(matches(R"(\A +| +\z)", "  a ", 3), 1u);
  EXPECT_EQ(matches(R"(\A +| +\z)", " a b", 2), 0u);
  EXPECT_EQ(matches(R"(\s+)", "\t\n x", 0), 3u);
  EXPECT_EQ(matches(R"(\.)", ".", 0), 1u);
  for (const char* pattern :
       {"", "a*", "(a)", "[ab]", "a|", ".", "a+?", " {0,}", " {3,2}", " {", R"(\d)", "^a", "a$", "ab", " {,3}"})
    EXPECT_EQ(error_of([&] { RunPattern::parse(pattern, "test"); }, pattern), ErrorCode::input);
  EXPECT_EQ(error_of([&] { RunPattern::literal("", "test"); }, "empty"), ErrorCode::input);
}

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  return out + static_cast<char>(value);
}

std::string field(uint64_t tag, std::string_view bytes) {
  return varint(tag << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

std::string number(uint64_t tag, uint64_t value) {
  return varint(tag << 3) + varint(value);
}

std::string piece(std::string_view text, float score) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return field(1, field(1, text) + varint(2 << 3 | 5) + bits);
}

const std::string sound =
    piece("<pad>", 0) + piece("</s>", 0) + piece("<unk>", 0) + piece("\u2581", -1) + field(2, number(40, 2));

std::string little_endian(uint32_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> 8 * i));
  return out;
}

std::string charsmap(std::initializer_list<uint32_t> units, std::string_view texts) {
  std::string out = little_endian(static_cast<uint32_t>(4 * units.size()));
  for (const uint32_t unit : units) out += little_endian(unit);
  return out + std::string(texts);
}

TEST(T5Tokenizer, broken_models_give_one_clean_error) {
  const Folder folder;
  const auto outcome = [&](const std::string& model) {
    write(folder.path / "spiece.model", model);
    return error_of([&] { folder.load().encode("a cat e"); }, model.substr(0, 40));
  };
  write(folder.path / "spiece.model", sound);
  EXPECT_EQ(folder.load().encode("a"), (std::vector<int64_t>{3, 2, 1}));
  const std::string infinite = piece("x", std::numeric_limits<float>::infinity()), odd = piece("\xff", -1);
  for (const std::string& model : {std::string(),
                                   std::string("model"),
                                   std::string(100, '\xff'),
                                   std::string(1000, '\0'),
                                   sound + "\x0a",
                                   sound + infinite,
                                   sound + odd,
                                   sound + field(2, number(3, 2)),
                                   sound + field(2, number(3, 99)),
                                   sound + field(2, number(40, 4)),
                                   sound + field(2, number(40, ~uint64_t{0})),
                                   sound + field(2, number(24, 1)),
                                   sound + field(3, number(3, 0)),
                                   sound + field(1, number(3, 9)),

                                   varint(1 << 3 | 2) + varint(~uint64_t{0}),
                                   varint(1 << 3 | 3),
                                   varint(2) + varint(0),
                                   varint(1 << 3 | 2) + std::string(11, '\x80'),
                                   sound + field(3, field(2, "abc")),
                                   sound + field(3, field(2, charsmap({}, ""))),
                                   sound + field(3, field(2, little_endian(0xfffffffc))),
                                   sound + field(3, field(2, charsmap({0xfffffdff, 0xfffffdff}, "x"))),
                                   sound + field(3, field(2, charsmap({1 << 10}, "\xff")))}) {
    EXPECT_EQ(outcome(model), ErrorCode::input);
  }
}

// A trie that says yes to the byte 'a' alone, with the replacement at `value`.
std::string trie_of_a(uint32_t value, std::string_view texts) {
  std::vector<uint32_t> units(256, 0);
  units['a'] = 'a' | 1 << 8 | 1 << 10;  // a leaf follows, one place on
  units['a' ^ 1] = 0x80000000u | value;
  std::string out = little_endian(1024);
  for (const uint32_t unit : units) out += little_endian(unit);
  return out + std::string(texts);
}

TEST(Charsmap, replaces_and_checks_every_step) {
  const auto apply = [](const std::string& map, std::string_view text) {
    std::string out;
    for (const SourceChar& c : Charsmap(map, "test")(decode_utf8(text, "test"))) append_utf8(out, c.code);
    return out;
  };
  EXPECT_EQ(apply(trie_of_a(0, std::string("xy\0z\0", 5)), "bab"), "bxyb");
  EXPECT_EQ(apply(trie_of_a(3, std::string("xy\0z\0", 5)), "bab"), "bzb");
  EXPECT_EQ(apply(trie_of_a(2, std::string("xy\0z\0", 5)), "bab"), "bb");
  EXPECT_EQ(apply(trie_of_a(3, std::string("xy\0z", 4)), "a"), "z");
  EXPECT_EQ(error_of([&] { apply(trie_of_a(6, std::string("xy\0z\0", 5)), "a"); }, "outside"), ErrorCode::input);
  EXPECT_EQ(error_of([&] { apply(trie_of_a(0, std::string(300, 'x')), "a"); }, "long"), ErrorCode::input);
  EXPECT_EQ(error_of([&] { apply(trie_of_a(1, "\u00e9"), "a"); }, "inside a character"), ErrorCode::input);
}

TEST(T5Tokenizer, damaged_models_never_crash) {
  const std::string whole = read(fixtures + "/spiece/spiece.model");
  std::mt19937 random(7);
  const Folder folder;
  const auto survive = [&](const std::string& model) {
    write(folder.path / "spiece.model", model);
    try {
      folder.load().encode("a cat\u0301 \uff46\uff55 1\u20e3");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
    }
  };
  for (size_t length = 0; length < whole.size(); length += whole.size() / 23 + 1) survive(whole.substr(0, length));
  for (int i = 0; i < 60; ++i) {
    std::string damaged = whole;
    for (int n = 0; n < 1 << (i % 12); ++n) damaged[random() % damaged.size()] = static_cast<char>(random());
    survive(damaged);
  }
}

TEST(T5Tokenizer, broken_json_gives_one_clean_error) {
  const json whole = json::parse(read(fixtures + "/old/tokenizer.json"));
  const Folder folder;
  const auto refuse = [&](const json& patch) {
    json changed = whole;
    changed.merge_patch(patch);
    write(folder.path / "tokenizer.json", changed.dump());
    EXPECT_EQ(error_of([&] { folder.load().encode("a  cat"); }, patch.dump().substr(0, 80)), ErrorCode::input);
  };
  const json grows = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaaaaaaaaaa"}};
  for (const json& patch : std::vector<json>{
           {{"model", {{"type", "WordPiece"}}}},
           {{"model", {{"vocab", json::object()}}}},
           {{"model", {{"vocab", json::array()}}}},
           {{"model", {{"vocab", {{"a", "b"}}}}}},
           {{"model", {{"vocab", {{"a", 1}, {"b"}}}}}},
           {{"model", {{"unk_id", nullptr}}}},
           {{"model", {{"unk_id", -1}}}},
           {{"model", {{"unk_id", 1 << 20}}}},
           {{"model", {{"byte_fallback", "yes"}}}},
           {{"normalizer", 3}},
           {{"normalizer", {{"type", "Sequence"}, {"normalizers", 1}}}},
           {{"normalizer", {{"type", "StripAccents"}}}},
           {{"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "*"}}}},
           {{"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}}}},
           {{"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", nullptr}}}},
           {{"normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "(a+)+b"}}}, {"content", ""}}}},
           {{"normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", ""}}}},
           {{"normalizer", {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(300, 'x')}}}},
           {{"normalizer", {{"type", "Sequence"}, {"normalizers", json(12, grows)}}}},
           {{"pre_tokenizer", {{"type", "Punctuation"}}}},
           {{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}}},
           {{"pre_tokenizer", {{"type", "Metaspace"}, {"prepend_scheme", "last"}}}},
           {{"post_processor", {{"type", "BertProcessing"}}}},
           {{"post_processor", {{"single", {{"nothing", 1}}}}}},
           {{"post_processor", {{"special_tokens", {{"</s>", nullptr}}}}}},
           {{"added_tokens", 1}}}) {
    refuse(patch);
  }
  for (const char* text : {"", "{", "[]", "7", "{\"model\": 1}"}) {
    write(folder.path / "tokenizer.json", text);
    EXPECT_EQ(error_of([&] { folder.load(); }, text), ErrorCode::input);
  }
  fs::remove(folder.path / "tokenizer.json");
  EXPECT_EQ(error_of([&] { folder.load(); }, "empty folder"), ErrorCode::input);
}

TEST(T5Tokenizer, broken_settings_give_one_clean_error) {
  const Folder folder("config");
  for (const char* text : {"{", R"({"extra_ids": -1})", R"({"extra_ids": 100000000})", R"({"extra_ids": "many"})",
                           R"({"model_max_length": 0})", R"({"padding_side": "up"})",
                           R"({"eos_token": "<nowhere>", "added_tokens_decoder": {"1": 3}})"}) {
    write(folder.path / "tokenizer_config.json", text);
    EXPECT_EQ(error_of([&] { folder.load(); }, text), ErrorCode::input);
  }
}

}  // namespace
}  // namespace heddle
