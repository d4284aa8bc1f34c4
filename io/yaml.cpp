// YAML by yaml-cpp's event parser: bounds are checked on the events, before any tree exists.
#include "io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "io/file.h"
#include "io/utf8.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

constexpr int64_t largest_file = int64_t{1} << 20;
constexpr size_t deepest = 64;
constexpr int most_values = 20000;
constexpr size_t longest_path = 200;

// Builds the tree. `open_` holds the collections that have begun and not ended, outermost first.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& file, std::string_view text) : file_(file), text_(text) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail_at(mark, "one YAML document", "another");
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail_at(mark, "no aliases", "one", "writing it out");
  }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    if (wants_key()) fail_at(mark, "a key", "nothing");
    place(make(mark, YamlNode::Kind::none));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    check_tag(mark, tag);
    check_closed(mark);
    if (wants_key()) {
      take_key(mark, value);
      return;
    }
    YamlNode node = make(mark, YamlNode::Kind::scalar);
    node.text = value;
    node.quoted = tag == "!";
    place(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    begin(mark, tag, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    begin(mark, tag, YamlNode::Kind::map);
  }
  void OnMapEnd() override { end(); }

 private:
  struct Open {
    YamlNode node;
    std::string key, key_where;  // of a map: the key whose value comes next
    bool has_key = false;
    std::set<std::string> keys;
  };

  std::string line(const YAML::Mark& mark) const { return file_ + ":" + std::to_string(mark.line + 1); }

  [[noreturn]] void fail_at(const YAML::Mark& mark, std::string_view wanted, std::string_view got,
                            std::string_view hint = {}) const {
    fail(ErrorCode::usage, line(mark), wanted, got, hint);
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!") fail_at(mark, "no YAML tags", tag);
  }

  // The parser takes the end of a file for the missing quote, which would hide that the file was cut off.
  void check_closed(const YAML::Mark& mark) const {
    const auto begin = static_cast<size_t>(std::max(0, mark.pos));
    if (begin >= text_.size() || (text_[begin] != '"' && text_[begin] != '\'')) return;
    const char quote = text_[begin];
    for (size_t at = begin + 1; at < text_.size(); ++at) {
      if (text_[at] == '\\' && quote == '"') {
        ++at;
      } else if (text_[at] == quote) {
        if (quote == '"' || at + 1 == text_.size() || text_[at + 1] != quote) return;
        ++at;  // a single quote is written twice
      }
    }
    fail_at(mark, "a closing quote", "none");
  }

  bool wants_key() const {
    return !open_.empty() && open_.back().node.kind == YamlNode::Kind::map && !open_.back().has_key;
  }

  // "sampler.steps", "attention[0].tgate" of the value that comes next.
  std::string path() const {
    std::string out;
    for (const Open& open : open_) {
      if (open.node.kind == YamlNode::Kind::list) {
        out += "[" + std::to_string(open.node.items.size()) + "]";
      } else {
        out += (out.empty() ? "" : ".") + open.key.substr(0, 40);
      }
      if (out.size() > longest_path) return out.substr(0, longest_path) + "...";
    }
    return out;
  }

  YamlNode make(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (++values_ > most_values) fail_at(mark, "at most " + std::to_string(most_values) + " values", "more");
    YamlNode node;
    node.kind = kind;
    const std::string keys = path();
    node.where = line(mark) + (keys.empty() ? "" : " ") + keys;
    return node;
  }

  void take_key(const YAML::Mark& mark, const std::string& key) {
    Open& map = open_.back();
    map.key = key;
    map.key_where = line(mark) + " " + path();
    if (!map.keys.insert(key).second) fail(ErrorCode::usage, map.key_where, "each key once", "\"" + key + "\" again");
    map.has_key = true;
  }

  void begin(const YAML::Mark& mark, const std::string& tag, YamlNode::Kind kind) {
    check_tag(mark, tag);
    if (wants_key()) fail_at(mark, "words as keys and every bracket closed", "a list or a map in the place of a key");
    if (open_.size() >= deepest) fail_at(mark, "at most 64 levels", "more");
    open_.push_back({.node = make(mark, kind)});
  }

  void end() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (open_.back().node.kind == YamlNode::Kind::list) {
      open_.back().node.items.push_back(std::move(node));
    } else {
      Open& map = open_.back();
      map.node.entries.push_back({map.key, map.key_where, std::move(node)});
      map.has_key = false;
    }
  }

  const std::string& file_;
  std::string_view text_;
  YamlNode root_;
  std::vector<Open> open_;
  int values_ = 0;
  int documents_ = 0;
};

// What the parser would stumble over in ways of its own: bytes that are no UTF-8, control characters, tabs as
// indentation.
void check_text(std::string_view text, const std::string& file) {
  int line = 1;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row = text.substr(begin, end - begin);
    const std::string where = file + ":" + std::to_string(line);
    if (!is_utf8(row)) fail(ErrorCode::usage, where, "UTF-8", "other bytes", "saving the file as UTF-8");
    for (const char c : row) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t' && c != '\r') || byte == 0x7f)
        fail(ErrorCode::usage, where, "text", "a control character");
    }
    const size_t first = row.find_first_not_of(" \t\r");
    if (first != row.npos && row[first] != '#' && row.substr(0, first).find('\t') != row.npos) {
      fail(ErrorCode::usage, where, "spaces as indentation", "a tab");
    }
    begin = end + 1;
    ++line;
  }
}

}  // namespace

YamlNode parse_yaml(std::string_view text, const std::string& file) {
  if (static_cast<int64_t>(text.size()) > largest_file) {
    fail(ErrorCode::usage, file, "at most " + std::to_string(largest_file) + " bytes of YAML",
         std::to_string(text.size()));
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  check_text(text, file);
  Builder builder(file, text);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    fail(ErrorCode::usage, file + ":" + std::to_string(std::max(0, e.mark.line) + 1), "YAML", e.msg);
  }
  return builder.take();
}

YamlNode read_yaml(const std::string& path) {
  return parse_yaml(read_file(path, largest_file), path);
}

}  // namespace heddle
